// A new product: pictures sent one after another, and regions drawn on one of them by mouse, finger or keys.
(() => {
  "use strict";

  // Sending

  for (const upload of document.querySelectorAll("form.onb-upload")) upload.addEventListener("submit", async (event) => {
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
        answer = await fetch(`${upload.dataset.to}${upload.dataset.to.includes("?") ? "&" : "?"}file=${encodeURIComponent((file.webkitRelativePath || file.name).slice(-300))}`, {
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
    location.hash = upload.closest("section").id;
    location.reload();
  });

  // Drawing

  const corners = (text) => text.trim().split(/\s+/).map((pair) => pair.split(",").map(Number)).filter((pair) => pair.length === 2 && pair.every(Number.isFinite));
  const written = (pairs) => pairs.map((pair) => pair.join(",")).join(" ");
  const shown = (form) => {
    for (const one of form.querySelectorAll(".onb-drawing[hidden], .actions[hidden], p[hidden]")) one.hidden = false;
  };

  const region = document.getElementById("onb-region");
  if (region) {
    const field = region.elements.region;
    shown(region);
    region.querySelector("details").open = false;
    const drawing = window.polygonsOn({
      stage: region.querySelector(".onb-drawing"), tools: region.querySelector(".actions"), width: 100, height: 100, step: 1,
      keys: { i: "in", o: "out", n: "next", c: "corner", x: "less", Delete: "remove", Backspace: "remove" },
      read: () => field.value.split("\n").map((line) => line.match(/^\s*(in|out):\s*(.+)$/)).filter(Boolean)
        .map(([, kind, rest]) => ({ kind, corners: corners(rest) })).filter((shape) => shape.corners.length > 2),
      write: (shapes) => { field.value = shapes.map((shape) => `${shape.kind}: ${written(shape.corners)}`).join("\n"); },
      added: () => true,
    });
    field.addEventListener("input", drawing.again);
  }

  const named = document.getElementById("onb-named");
  if (!named) return;
  shown(named);
  const rows = named.querySelector(".place-rows"), blank = named.querySelector("template"), says = named.querySelector("[role=status]");
  const of = (row, name) => row.querySelector(`[name^="${name}-"]`);
  const all = () => [...rows.querySelectorAll(".place-row")];
  const isBlank = (row) => !of(row, "name").value && !of(row, "polygon").value.trim();
  let places = [];

  function another() {
    const number = Math.max(-1, ...all().map((row) => Number(row.dataset.row))) + 1;
    if (number > 63) return undefined;
    const row = blank.content.cloneNode(true);
    for (const one of row.querySelectorAll("*")) {
      for (const { name, value } of [...one.attributes]) {
        if (value.includes("__")) one.setAttribute(name, value.replaceAll("__", number));
      }
    }
    rows.append(row);
    return all().at(-1);
  }

  const drawing = window.polygonsOn({
    stage: named.querySelector(".onb-drawing"), tools: named.querySelector(".actions"),
    width: Number(named.dataset.width), height: Number(named.dataset.height), step: Math.max(1, Math.round(named.dataset.width / 200)),
    keys: { a: "add", d: "draw", n: "next", c: "corner", x: "less", Delete: "remove", Backspace: "remove" },
    read: () => {
      places = all().filter((row) => !isBlank(row) && !of(row, "remove").checked);
      return places.map((row) => ({ kind: of(row, "kind").value, name: of(row, "name").value, corners: corners(of(row, "polygon").value), row }));
    },
    write: (shapes) => { for (const { row, corners: own } of shapes) of(row, "polygon").value = written(own); },
    added: (shape, shapes) => {
      const row = all().find(isBlank) ?? another();
      if (!row) return false;
      shape.row = row;
      shape.kind = of(row, "kind").value;
      const taken = new Set(shapes.map((one) => one.name));
      let number = 1;
      while (taken.has(`region-${number}`)) number += 1;
      shape.name = of(row, "name").value = `region-${number}`;
      row.querySelector("legend").textContent = shape.name;
      places.push(row);
      return true;
    },
    removed: ({ row }) => { places = places.filter((one) => one !== row); row.remove(); },
    told: ({ chosen, drawing: placing }) => {
      says.textContent = placing ? says.dataset.draws : says.dataset.moves;
      named.querySelector("[data-do=draw]").setAttribute("aria-pressed", placing);
      for (const row of all()) row.classList.toggle("chosen", row === places[chosen]);
    },
  });
  rows.addEventListener("input", (event) => {
    const row = event.target.closest(".place-row");
    if (event.target === of(row, "name")) row.querySelector("legend").textContent = event.target.value;
    drawing.again();
  });
  rows.addEventListener("focusin", (event) => {
    const index = places.indexOf(event.target.closest(".place-row"));
    if (index >= 0) drawing.choose(index);
  });
})();
