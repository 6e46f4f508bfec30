// What the pages do by themselves. Nothing is fetched from elsewhere, nothing is evaluated.
"use strict";

(() => {
  const live = document.getElementById("live");
  if (!live) return;
  const SILENT_MS = 7000;
  const lost = document.getElementById("lost");
  let heard = Date.now();
  let clock = live.querySelector(".now")?.textContent ?? "";

  document.body.addEventListener("htmx:sseMessage", (event) => {
    if (event.detail.type === "gone") {
      window.location.reload();
      return;
    }
    heard = Date.now();
    clock = live.querySelector(".now")?.textContent ?? clock;
  });

  // The connection may stand and carry nothing, as after a network cut: silence alone tells.
  setInterval(() => {
    const silent = Date.now() - heard > SILENT_MS;
    if (silent && lost.hidden) lost.querySelector("time").textContent = clock;
    lost.hidden = !silent;
    live.classList.toggle("old", silent);
  }, 1000);
})();

// Pages that ask for themselves, the bar's count among it, say so when nobody answers: what stands on them looks alive.
(() => {
  const away = document.getElementById("away");
  if (!away || !document.querySelector("[hx-trigger^=every]")) return;
  const SILENT_MS = 16000; // three times what the slowest of them waits between two answers
  let heard = Date.now();
  document.body.addEventListener("htmx:afterRequest", (event) => {
    if (event.detail.successful) heard = Date.now();
  });
  setInterval(() => {
    const silent = Date.now() - heard > SILENT_MS;
    if (silent && away.hidden) away.querySelector("time").textContent = new Date(heard).toLocaleTimeString(document.documentElement.lang);
    away.hidden = !silent;
  }, 1000);
})();

(() => {
  const STEP = 1.25;
  for (const viewer of document.querySelectorAll(".viewer")) {
    const stage = viewer.querySelector(".stage");
    const frame = viewer.querySelector(".frame");
    const map = viewer.querySelector(".map");
    const outlines = viewer.querySelector(".outlines");
    const card = viewer.closest(".look");
    const opacity = card.querySelector(".opacity");
    const tick = card.querySelector(".outline-tick");
    let scale = 1, left = 0, top = 0, held = null;

    const sized = () => {
      outlines?.setAttribute("viewBox", `0 0 ${frame.naturalWidth} ${frame.naturalHeight}`);
      outlines?.setAttribute("font-size", Math.max(frame.naturalWidth, frame.naturalHeight) / 28); // names of regions, in its pixels
    };
    if (frame.complete) sized(); else frame.addEventListener("load", sized);

    const drawn = () => { stage.style.transform = `translate(${left}px, ${top}px) scale(${scale})`; };
    const zoom = (factor, x, y) => {
      const next = Math.min(20, Math.max(1, scale * factor));
      left = x - (x - left) * (next / scale);
      top = y - (y - top) * (next / scale);
      scale = next;
      if (scale === 1) { left = 0; top = 0; }
      drawn();
    };
    const middle = () => [stage.offsetWidth / 2, stage.offsetHeight / 2];
    const faded = (value) => {
      if (!map) return;
      opacity.value = value;
      map.style.opacity = String(value / 100);
    };
    const outlined = (on) => {
      if (!outlines) return;
      tick.checked = on;
      outlines.style.display = on ? "" : "none";
    };
    opacity?.addEventListener("input", () => faded(opacity.value));
    tick?.addEventListener("change", () => outlined(tick.checked));

    viewer.addEventListener("wheel", (event) => {
      event.preventDefault();
      const box = stage.parentElement.getBoundingClientRect();
      zoom(event.deltaY < 0 ? STEP : 1 / STEP, event.clientX - box.left - stage.offsetLeft, event.clientY - box.top);
    }, { passive: false });
    // One finger moves, two zoom about the place between them.
    const fingers = new Map();
    const between = () => {
      const [one, other] = [...fingers.values()];
      const box = stage.parentElement.getBoundingClientRect();
      return {
        apart: Math.hypot(one.x - other.x, one.y - other.y),
        x: (one.x + other.x) / 2 - box.left - stage.offsetLeft,
        y: (one.y + other.y) / 2 - box.top,
      };
    };
    viewer.addEventListener("pointerdown", (event) => {
      fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
      held = fingers.size === 1 ? [event.clientX - left, event.clientY - top] : null;
      viewer.setPointerCapture(event.pointerId);
    });
    viewer.addEventListener("pointermove", (event) => {
      if (!fingers.has(event.pointerId)) return;
      const before = fingers.size === 2 ? between() : null;
      fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
      if (before) {
        const now = between();
        left += now.x - before.x;
        top += now.y - before.y;
        if (before.apart > 0) zoom(now.apart / before.apart, now.x, now.y);
      } else if (held && scale > 1) {
        left = event.clientX - held[0];
        top = event.clientY - held[1];
        drawn();
      }
    });
    for (const over of ["pointerup", "pointercancel"]) {
      viewer.addEventListener(over, (event) => { fingers.delete(event.pointerId); held = null; });
    }

    viewer.addEventListener("keydown", (event) => {
      const moves = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] };
      if (event.key === "+") zoom(STEP, ...middle());
      else if (event.key === "-") zoom(1 / STEP, ...middle());
      else if (event.key === "0") zoom(0, 0, 0);
      else if (moves[event.key] && scale > 1) { left += moves[event.key][0]; top += moves[event.key][1]; drawn(); }
      else return;
      event.preventDefault();
    });
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.altKey || event.metaKey || event.target.matches("input:not([type=range]), select")) return;
      if (event.key === "m") faded(Number(opacity?.value ?? 0) ? 0 : 70);
      if (event.key === "u") outlined(!tick?.checked);
    });
  }
})();
