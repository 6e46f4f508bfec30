// A new product: pictures sent one after another, and regions drawn on one of them by mouse, finger or keys.
(() => {
  "use strict";
  const SVG = "http://www.w3.org/2000/svg";

  // Sending

  const upload = document.getElementById("onb-upload");
  upload?.addEventListener("submit", async (event) => {
    event.preventDefault();
    const files = [...upload.elements.files.files];
    const bar = upload.querySelector("progress"), told = upload.querySelector("[role=status]"), button = upload.querySelector("button");
    if (!files.length) return;
    const all = files.reduce((sum, file) => sum + file.size, 0) || 1;
    let sent = 0, kept = 0;
    bar.hidden = false;
    button.disabled = true;
    for (const file of files) {
      let answer, said;
      try {
        answer = await fetch(`${upload.dataset.to}?file=${encodeURIComponent((file.webkitRelativePath || file.name).slice(-300))}`, {
          method: "POST", body: file, headers: { "content-type": "application/octet-stream", "x-form-mark": upload.dataset.mark },
        });
        said = answer.headers.get("content-type")?.includes("json") ? await answer.json() : {};
      } catch { answer = undefined; }
      if (!answer?.ok) {
        told.textContent = `${file.name}: ${said?.fault ?? upload.dataset.lost}`;
        told.className = "fault";
        button.disabled = false;
        return;
      }
      sent += file.size;
      kept += said.kept ?? 0;
      bar.value = sent / all;
      told.className = "";
      told.textContent = `${kept} ${upload.dataset.kept}`;
    }
    location.hash = "pictures";
    location.reload();
  });

  // Drawing

  const form = document.getElementById("onb-region");
  if (!form) return;
  const field = form.elements.region, stage = form.querySelector(".onb-drawing"), svg = stage.querySelector("svg");
  const tools = form.querySelector(".actions");
  for (const one of form.querySelectorAll(":scope > [hidden]")) one.hidden = false;
  form.querySelector("details").open = false;
  let shapes = [], chosen = -1, corner = 0, drag;

  const within = (value) => Math.round(Math.max(0, Math.min(100, value)) * 10) / 10;
  const mark = (name, attributes) => {
    const found = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) found.setAttribute(key, value);
    return found;
  };

  function read() {
    shapes = field.value.split("\n").map((line) => line.match(/^\s*(in|out):\s*(.+)$/)).filter(Boolean).map(([, kind, rest]) => ({
      kind, corners: rest.trim().split(/\s+/).map((pair) => pair.split(",").map(Number)).filter((pair) => pair.length === 2 && pair.every(Number.isFinite)),
    })).filter((shape) => shape.corners.length > 2);
    chosen = Math.min(chosen, shapes.length - 1);
    draw();
  }

  function write() {
    field.value = shapes.map(({ kind, corners }) => `${kind}: ${corners.map((pair) => pair.join(",")).join(" ")}`).join("\n");
    draw();
  }

  function draw() {
    svg.replaceChildren(...shapes.flatMap(({ kind, corners }, index) => {
      const own = mark("polygon", { points: corners.map((pair) => pair.join(",")).join(" "), class: `${kind}${index === chosen ? " chosen" : ""}`, "vector-effect": "non-scaling-stroke", "data-shape": index });
      if (index !== chosen) return [own];
      return [own, ...corners.map(([x, y], place) => mark("line", { x1: x, y1: y, x2: x + 0.001, y2: y, class: place === corner ? "grip chosen" : "grip", "vector-effect": "non-scaling-stroke", "data-shape": index, "data-corner": place }))];
    }));
  }

  function add(kind) {
    const inset = 12 + 6 * (shapes.length % 4);
    shapes.push({ kind, corners: [[inset, inset], [100 - inset, inset], [100 - inset, 100 - inset], [inset, 100 - inset]] });
    chosen = shapes.length - 1;
    corner = 0;
    write();
    stage.focus({ preventScroll: true });
  }

  const doing = {
    in: () => add("in"),
    out: () => add("out"),
    next: () => {
      if (!shapes.length) return;
      corner += 1;
      if (chosen < 0 || corner >= shapes[chosen].corners.length) { chosen = (chosen + 1) % shapes.length; corner = 0; }
      draw();
    },
    corner: () => {
      if (chosen < 0) return;
      const { corners } = shapes[chosen], [x, y] = corners[corner], [u, v] = corners[(corner + 1) % corners.length];
      corners.splice(corner + 1, 0, [within((x + u) / 2), within((y + v) / 2)]);
      corner += 1;
      write();
    },
    remove: () => {
      if (chosen < 0) return;
      shapes.splice(chosen, 1);
      chosen = shapes.length - 1;
      corner = 0;
      write();
    },
  };

  tools.addEventListener("click", (event) => doing[event.target.closest("button")?.dataset.do]?.());

  const KEYS = { i: "in", o: "out", n: "next", c: "corner", Delete: "remove", Backspace: "remove" };
  const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  stage.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const move = MOVES[event.key];
    if (move && chosen >= 0) {
      const moved = event.shiftKey ? shapes[chosen].corners : [shapes[chosen].corners[corner]];
      for (const pair of moved) { pair[0] = within(pair[0] + move[0]); pair[1] = within(pair[1] + move[1]); }
      write();
    } else if (KEYS[event.key]) doing[KEYS[event.key]]();
    else return;
    event.preventDefault();
  });

  const place = (event) => {
    const box = svg.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width * 100, (event.clientY - box.top) / box.height * 100];
  };

  svg.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    const { shape, corner: grip } = event.target.dataset;
    if (shape === undefined) return;
    event.preventDefault();
    stage.focus({ preventScroll: true });
    chosen = Number(shape);
    corner = grip === undefined ? 0 : Number(grip);
    drag = { at: place(event), whole: grip === undefined, corners: shapes[chosen].corners.map((pair) => [...pair]) };
    svg.setPointerCapture(event.pointerId);
    draw();
  });
  svg.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const [x, y] = place(event), by = [x - drag.at[0], y - drag.at[1]];
    shapes[chosen].corners = drag.corners.map((pair, index) => (drag.whole || index === corner ? [within(pair[0] + by[0]), within(pair[1] + by[1])] : pair));
    write();
  });
  for (const end of ["pointerup", "pointercancel"]) svg.addEventListener(end, () => { drag = undefined; });
  field.addEventListener("input", read);
  read();
})();
