// After an alarm is acknowledged its button is gone: who works by keyboard goes on with the next one.
"use strict";

(() => {
  const list = document.getElementById("alarms");
  if (!list) return;
  list.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.requestConfig.verb !== "post") return;
    (list.querySelector("button.acknowledge") ?? document.getElementById("main")).focus();
  });
})();
