// Printing wants a script; without one the browser's own way remains.
"use strict";

(() => {
  const button = document.getElementById("print");
  if (!button) return;
  button.hidden = false;
  button.addEventListener("click", () => window.print());
})();
