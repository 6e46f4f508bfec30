// The page for reviewers: keys, regions drawn on the picture, and what keeps a stray key from answering.
"use strict";

(() => {
  const PAD = { NumpadDecimal: ".", NumpadComma: ".", NumpadAdd: "+", NumpadSubtract: "-", NumpadMultiply: "*", NumpadDivide: "/", NumpadEnter: "Enter" };
  // The pad's digits are digits whether NumLock is on or not; its comma is a dot in every language.
  const nameOf = (event) => {
    const digit = /^Numpad(\d)$/.exec(event.code);
    if (digit) return digit[1];
    return PAD[event.code] ?? (event.key.length === 1 ? event.key.toLowerCase() : event.key);
  };

  for (const field of document.querySelectorAll(".review-press")) {
    field.addEventListener("keydown", (event) => {
      if (["Tab", "Escape", "Shift"].includes(event.key) || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      field.value = ["Backspace", "Delete"].includes(event.key) ? "" : nameOf(event);
    });
  }

  const page = document.getElementById("review");
  if (!page) return;
  // Whoever presses twice by mistake must not answer the next part unseen.
  const SETTLE_MS = 400;
  const STEP = 0.01, FINE = 1, ZOOMS = [1, 1.5, 2, 3, 4, 6, 8];
  const SVG = "http://www.w3.org/2000/svg";
  const ANSWERS = ["normal", "inconclusive", "defect"];
  const REPEATED = new Set(["larger", "smaller"]);
  const actions = new Map(Object.entries(JSON.parse(page.dataset.keys)).flatMap(([action, keys]) => keys.map((key) => [key, action])));
  const notices = ["review-away", "review-out", "review-broken"].map((id) => document.getElementById(id));
  const fault = document.getElementById("review-fault");
  let part; // what is on the bench now

  const one = (query) => document.querySelector(`#bench ${query}`);
  const tell = (id) => notices.forEach((notice) => { notice.hidden = notice.id !== id; });

  // The bench

  function begin() {
    clearTimeout(part?.settling);
    clearTimeout(part?.ending);
    const bench = document.getElementById("bench");
    part = { bench, regions: [], chosen: -1, drawing: false, zoom: 0, width: 0, height: 0 };
    if (!bench.dataset.verdict) return;
    const mine = part;
    const settle = () => { mine.settling = setTimeout(() => { bench.dataset.ready = "yes"; }, SETTLE_MS); };
    mine.ending = setTimeout(() => { one(".review-ended").hidden = false; }, Number(bench.dataset.left) * 1000);
    const picture = one(".review-picture");
    if (!picture) return settle();
    const shown = () => {
      [mine.width, mine.height] = [picture.naturalWidth, picture.naturalHeight];
      one(".review-drawing")?.setAttribute("viewBox", `0 0 ${mine.width} ${mine.height}`);
      fit();
      settle();
    };
    const missing = () => { one(".review-no-picture").hidden = false; settle(); };
    if (picture.complete) return picture.naturalWidth ? shown() : missing();
    picture.addEventListener("load", shown, { once: true });
    picture.addEventListener("error", missing, { once: true });
  }

  function fit() {
    const stage = one(".review-stage"), canvas = one(".review-canvas");
    if (!stage || !part.width) return;
    const room = Math.min(stage.clientWidth / part.width, stage.clientHeight / part.height);
    const middle = [(stage.scrollLeft + stage.clientWidth / 2) / stage.scrollWidth, (stage.scrollTop + stage.clientHeight / 2) / stage.scrollHeight];
    const scale = room * ZOOMS[part.zoom];
    canvas.style.width = `${Math.floor(part.width * scale)}px`;
    canvas.style.height = `${Math.floor(part.height * scale)}px`;
    canvas.classList.toggle("near", scale >= 3);
    const own = part.regions[part.chosen];
    const [x, y] = own ? [(own.x + own.width / 2) / part.width, (own.y + own.height / 2) / part.height] : middle;
    stage.scrollLeft = x * stage.scrollWidth - stage.clientWidth / 2;
    stage.scrollTop = y * stage.scrollHeight - stage.clientHeight / 2;
    draw();
  }

  function zoom(by) {
    part.zoom = Math.max(0, Math.min(ZOOMS.length - 1, part.zoom + by));
    fit();
  }

  // Regions

  function rectangle(kind, box) {
    const found = document.createElementNS(SVG, "rect");
    found.setAttribute("class", kind);
    found.setAttribute("vector-effect", "non-scaling-stroke");
    for (const name of ["x", "y", "width", "height"]) found.setAttribute(name, box[name]);
    return found;
  }

  function draw() {
    const group = one(".review-own");
    if (!group) return;
    const grip = Math.max(2, Math.round(part.width / one(".review-canvas").clientWidth * 22));
    group.replaceChildren(...part.regions.flatMap((box, index) => {
      const own = rectangle(index === part.chosen ? "chosen" : "", box);
      own.dataset.index = index;
      if (index !== part.chosen) return [own];
      const corner = rectangle("grip", { x: box.x + box.width - grip / 2, y: box.y + box.height - grip / 2, width: grip, height: grip });
      corner.dataset.grip = index;
      return [own, corner];
    }));
    one("[name=regions]").value = part.regions.map((box) => [box.x, box.y, box.width, box.height].join(",")).join(";");
    one(".review-drawn").hidden = part.regions.length === 0;
    one(".review-drawn b").textContent = part.regions.length;
    part.bench.classList.toggle("drawing", part.drawing);
  }

  function within(box) {
    const width = Math.max(1, Math.min(part.width, Math.round(box.width))), height = Math.max(1, Math.min(part.height, Math.round(box.height)));
    return { x: Math.max(0, Math.min(part.width - width, Math.round(box.x))), y: Math.max(0, Math.min(part.height - height, Math.round(box.y))), width, height };
  }

  function add() {
    if (!one(".review-drawing") || !part.width) return;
    const stage = one(".review-stage");
    const side = Math.min(part.width, part.height) / 6 / ZOOMS[part.zoom];
    const x = (stage.scrollLeft + stage.clientWidth / 2) / stage.scrollWidth * part.width, y = (stage.scrollTop + stage.clientHeight / 2) / stage.scrollHeight * part.height;
    part.regions.push(within({ x: x - side / 2, y: y - side / 2, width: side, height: side }));
    choose(part.regions.length - 1);
  }

  function choose(index) {
    part.chosen = part.regions.length ? index % part.regions.length : -1;
    part.drawing = part.chosen >= 0;
    draw();
  }

  function adopt() {
    const seen = [...document.querySelectorAll("#bench .review-machine rect")];
    if (!seen.length || !part.width) return;
    look(true);
    const boxes = seen.map((rect) => within(Object.fromEntries(["x", "y", "width", "height"].map((name) => [name, Number(rect.getAttribute(name))]))));
    part.regions.push(...boxes.filter((box) => !part.regions.some((own) => ["x", "y", "width", "height"].every((name) => own[name] === box[name]))));
    choose(part.regions.length - 1);
  }

  // While a region is steered the pad steers it: nothing else happens by these keys.
  function steer(key, event) {
    const box = part.regions[part.chosen];
    const step = event.shiftKey ? FINE : Math.max(1, Math.round(Math.max(part.width, part.height) * STEP / ZOOMS[part.zoom]));
    const moves = { ArrowLeft: [-step, 0, 0, 0], ArrowRight: [step, 0, 0, 0], ArrowUp: [0, -step, 0, 0], ArrowDown: [0, step, 0, 0] };
    const [left, right, up, down] = Object.values(moves);
    Object.assign(moves, { 4: left, 6: right, 8: up, 2: down, 7: [0, 0, -step, 0], 9: [0, 0, step, 0], 1: [0, 0, 0, -step], 3: [0, 0, 0, step] });
    const move = moves[key];
    if (move) part.regions[part.chosen] = within({ x: box.x + move[0], y: box.y + move[1], width: box.width + move[2], height: box.height + move[3] });
    else if (["0", "Delete", "Backspace"].includes(key)) {
      part.regions.splice(part.chosen, 1);
      part.chosen = -1;
      part.drawing = false;
    } else if (["Enter", "Escape", "5"].includes(key)) part.drawing = false;
    else return false;
    draw();
    return true;
  }

  let drag;
  const place = (event) => {
    const box = one(".review-drawing").getBoundingClientRect();
    return { x: (event.clientX - box.left) / box.width * part.width, y: (event.clientY - box.top) / box.height * part.height };
  };

  document.addEventListener("pointerdown", (event) => {
    const drawing = event.target.closest?.(".review-drawing");
    if (!drawing || event.button !== 0 || !part.width || (event.pointerType === "touch" && !part.drawing)) return;
    event.preventDefault();
    one(".review-stage").focus({ preventScroll: true });
    const at = place(event), { index, grip } = event.target.dataset;
    if (grip !== undefined) drag = { kind: "size", index: Number(grip) };
    else if (index !== undefined) drag = { kind: "move", index: Number(index), at, box: part.regions[index] };
    else drag = { kind: "new", at };
    drawing.setPointerCapture(event.pointerId);
    if (drag.index !== undefined) choose(drag.index);
  });

  document.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const at = place(event);
    if (drag.kind === "new") {
      const box = within({ x: Math.min(at.x, drag.at.x), y: Math.min(at.y, drag.at.y), width: Math.abs(at.x - drag.at.x), height: Math.abs(at.y - drag.at.y) });
      if (drag.index === undefined) {
        if (Math.max(box.width, box.height) * one(".review-canvas").clientWidth / part.width < 5) return; // a click, no region
        drag.index = part.regions.push(box) - 1;
      }
      part.regions[drag.index] = box;
    } else {
      const box = drag.box ?? part.regions[drag.index];
      part.regions[drag.index] = drag.kind === "move"
        ? within({ ...box, x: box.x + at.x - drag.at.x, y: box.y + at.y - drag.at.y })
        : within({ ...box, width: Math.max(1, at.x - box.x), height: Math.max(1, at.y - box.y) });
    }
    choose(drag.index);
  });

  for (const end of ["pointerup", "pointercancel"]) document.addEventListener(end, () => { drag = undefined; });

  // What keys do

  function look(on = !part.bench.classList.contains("looking")) {
    part.bench.classList.toggle("looking", on);
    one("[data-action=look]")?.setAttribute("aria-pressed", String(on));
    if (on) one("[name=looked]").value = "1";
  }

  function nextType() {
    const all = [...document.querySelectorAll("#bench [name=type]")];
    if (!all.length) return one("[name=other]")?.focus();
    all[(all.findIndex((radio) => radio.checked) + 1) % all.length].checked = true;
  }

  const own = {
    look: () => look(),
    region: add,
    next: () => choose(part.chosen + 1),
    adopt,
    type: nextType,
    comment: () => one("[name=comment]")?.focus(),
    larger: () => zoom(1),
    smaller: () => zoom(-1),
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
    if (event.target.closest("input:not([type=radio]), textarea, select")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const key = nameOf(event);
    if (part.drawing && steer(key, event)) return event.preventDefault();
    if (key === "Enter" && event.target.closest("a, button")) return;
    const action = actions.get(key);
    const button = action && document.querySelector(`#bench [data-action="${action}"]`);
    if (!action || (!button && !["type", "comment"].includes(action))) return;
    event.preventDefault();
    if (event.repeat && !REPEATED.has(action)) return;
    if (own[action]) own[action]();
    else button.click();
  });

  document.addEventListener("click", (event) => {
    const action = event.target.closest?.("#bench button[type=button]")?.dataset.action;
    if (own[action]) own[action]();
  });

  // Answers

  document.addEventListener("submit", (event) => {
    const action = event.submitter?.dataset.action;
    if (event.target.id === "answer" && ANSWERS.includes(action) && !part.bench.dataset.ready) {
      event.preventDefault();
      event.stopImmediatePropagation();
    }
  }, true);

  document.querySelector(".review-filter")?.addEventListener("change", (event) => event.currentTarget.requestSubmit());

  document.body.addEventListener("htmx:beforeSwap", (event) => {
    const { xhr } = event.detail;
    const asked = event.detail.requestConfig.verb === "post";
    if (!new URL(xhr.responseURL, location.href).pathname.startsWith("/review")) {
      event.detail.shouldSwap = false;
      tell("review-out");
    } else if (xhr.getResponseHeader("HX-Retarget")) {
      event.detail.shouldSwap = true;
      event.detail.isError = false;
      tell("");
    } else if (xhr.status >= 400) {
      if (asked) tell("review-broken");
    } else if (asked) {
      fault.replaceChildren();
      tell("");
    }
  });
  for (const lost of ["htmx:sendError", "htmx:timeout"]) {
    document.body.addEventListener(lost, (event) => { if (event.detail.requestConfig.verb === "post") tell("review-away"); });
  }
  document.body.addEventListener("htmx:afterSettle", (event) => { if (event.target.id === "bench") begin(); });
  window.addEventListener("resize", () => fit());
  begin();
})();
