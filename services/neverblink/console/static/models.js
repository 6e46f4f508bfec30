// The threshold's slider: the exact value and the line in the plot follow it; the server says what it would mean.
"use strict";

(() => {
  const slider = document.getElementById("slider");
  const exact = document.getElementById("exact");
  const plot = document.querySelector(".score-plot svg");
  if (!slider || !exact || !plot) return;
  const low = Number(plot.dataset.low), high = Number(plot.dataset.high);
  const line = plot.querySelector(".plot-chosen");
  document.documentElement.classList.add("scripted");

  const moved = (value) => {
    const along = Math.min(1, Math.max(0, (value - low) / (high - low))) * 1000;
    line?.setAttribute("x1", along);
    line?.setAttribute("x2", along);
  };
  slider.addEventListener("input", () => {
    exact.value = slider.value;
    moved(Number(slider.value));
  });
  exact.addEventListener("input", () => {
    const value = Number(exact.value);
    if (!(value > 0)) return;
    slider.value = exact.value;
    moved(value);
  });
})();
