// Polygons on a picture: drawn by mouse, finger or keys. Whoever uses it says where they are kept.
(() => {
  "use strict";
  const SVG = "http://www.w3.org/2000/svg";
  const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

  const mark = (name, attributes) => {
    const found = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) found.setAttribute(key, value);
    return found;
  };

  // `read` returns shapes {kind, name, corners}, `write` keeps them, `added` makes a new one's place; `keys` are names of
  // doings by key; `told` hears what is chosen and whether corners are being placed.
  window.polygonsOn = ({ stage, tools, width, height, step, keys, read, write, added, removed = () => {}, told = () => {} }) => {
    const svg = stage.querySelector("svg");
    let shapes = [], chosen = -1, corner = 0, drag, pen;

    const within = (value, most) => Math.round(Math.max(0, Math.min(most, value)) * 10) / 10;
    const inside = ([x, y]) => [within(x, width), within(y, height)];
    const points = (corners) => corners.map((pair) => pair.join(",")).join(" ");
    const grip = ([x, y], kind, data) => mark("line", { x1: x, y1: y, x2: x + width / 1e5, y2: y, class: kind, "vector-effect": "non-scaling-stroke", ...data });

    function draw() {
      const drawn = shapes.flatMap(({ kind, name, corners }, index) => {
        if (!corners.length) return [];
        // A dark line below each: a colour alone is lost on what looks like it.
        const under = mark("polygon", { points: points(corners), class: "under", "vector-effect": "non-scaling-stroke" });
        const own = [under, mark("polygon", { points: points(corners), class: `${kind}${index === chosen ? " chosen" : ""}`, "vector-effect": "non-scaling-stroke", "data-shape": index })];
        if (name) {
          const label = mark("text", { x: Math.min(...corners.map(([x]) => x)) + width / 150, y: Math.min(...corners.map(([, y]) => y)) + width / 42, "font-size": width / 48, class: "place-name" });
          label.textContent = name;
          own.push(label);
        }
        if (index !== chosen || pen) return own;
        return [...own, ...corners.map((pair, place) => grip(pair, place === corner ? "grip chosen" : "grip", { "data-shape": index, "data-corner": place }))];
      });
      if (pen) drawn.push(mark("polyline", { points: points(pen), class: "pen", "vector-effect": "non-scaling-stroke" }), ...pen.map((pair, place) => grip(pair, place ? "grip" : "grip chosen", { "data-pen": place })));
      svg.replaceChildren(...drawn);
      told({ chosen, drawing: Boolean(pen) });
    }

    function keep() { write(shapes); draw(); }

    function add(kind, corners) {
      const inset = (12 + 6 * (shapes.length % 4)) / 100;
      const [left, top, right, bottom] = [width * inset, height * inset, width * (1 - inset), height * (1 - inset)];
      const shape = { kind, corners: (corners ?? [[left, top], [right, top], [right, bottom], [left, bottom]]).map(inside) };
      if (added(shape, shapes) === false) return;
      shapes.push(shape);
      chosen = shapes.length - 1;
      corner = 0;
      keep();
      stage.focus({ preventScroll: true });
    }

    function ended() {
      const corners = pen;
      pen = undefined;
      if (corners.length > 2) add(undefined, corners);
      else draw();
    }

    const doing = {
      in: () => add("in"),
      out: () => add("out"),
      add: () => add(),
      draw: () => { pen = pen ? undefined : []; draw(); stage.focus({ preventScroll: true }); },
      next: () => {
        if (!shapes.length) return;
        corner += 1;
        if (chosen < 0 || corner >= shapes[chosen].corners.length) {
          chosen = (chosen + 1) % shapes.length;
          corner = 0;
        }
        draw();
      },
      corner: () => {
        if (chosen < 0 || !shapes[chosen].corners.length) return;
        const { corners } = shapes[chosen], [x, y] = corners[corner], [u, v] = corners[(corner + 1) % corners.length];
        corners.splice(corner + 1, 0, inside([(x + u) / 2, (y + v) / 2]));
        corner += 1;
        keep();
      },
      less: () => {
        if (chosen < 0 || shapes[chosen].corners.length < 4) return;
        shapes[chosen].corners.splice(corner, 1);
        corner %= shapes[chosen].corners.length;
        keep();
      },
      remove: () => {
        if (chosen < 0) return;
        removed(...shapes.splice(chosen, 1));
        chosen = shapes.length - 1;
        corner = 0;
        keep();
      },
    };

    tools.addEventListener("click", (event) => doing[event.target.closest("button")?.dataset.do]?.());

    stage.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      const move = MOVES[event.key];
      if (pen && event.key === "Enter") ended();
      else if (pen && event.key === "Escape") doing.draw();
      else if (move && chosen >= 0) {
        const moved = event.shiftKey ? shapes[chosen].corners : [shapes[chosen].corners[corner]];
        for (const pair of moved.filter(Boolean)) pair.splice(0, 2, ...inside([pair[0] + move[0] * step, pair[1] + move[1] * step]));
        keep();
      } else if (keys[event.key]) doing[keys[event.key]]();
      else return;
      event.preventDefault();
    });

    const place = (event) => {
      const box = svg.getBoundingClientRect();
      return [(event.clientX - box.left) / box.width * width, (event.clientY - box.top) / box.height * height];
    };

    svg.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      const { shape, corner: seized, pen: placed } = event.target.dataset;
      if (pen) {
        event.preventDefault();
        stage.focus({ preventScroll: true });
        if (placed === "0" && pen.length > 2) return ended();
        pen.push(inside(place(event)));
        return draw();
      }
      if (shape === undefined) return;
      event.preventDefault();
      stage.focus({ preventScroll: true });
      chosen = Number(shape);
      corner = seized === undefined ? 0 : Number(seized);
      drag = { at: place(event), whole: seized === undefined, corners: shapes[chosen].corners.map((pair) => [...pair]) };
      svg.setPointerCapture(event.pointerId);
      draw();
    });
    svg.addEventListener("pointermove", (event) => {
      if (!drag) return;
      const [x, y] = place(event), by = [x - drag.at[0], y - drag.at[1]];
      shapes[chosen].corners = drag.corners.map((pair, index) => (drag.whole || index === corner ? inside([pair[0] + by[0], pair[1] + by[1]]) : pair));
      keep();
    });
    for (const end of ["pointerup", "pointercancel"]) svg.addEventListener(end, () => { drag = undefined; });

    function again() {
      shapes = read();
      chosen = Math.min(chosen, shapes.length - 1);
      corner = Math.min(corner, Math.max(0, (shapes[chosen]?.corners.length ?? 1) - 1));
      draw();
    }
    again();
    return { again, choose: (index) => { if (index !== chosen) { chosen = index; corner = 0; draw(); } } };
  };
})();
