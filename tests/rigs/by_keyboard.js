// Watches a page that is walked by Tab: what listens to a pointer, what the focus reached, and whether it was seen there.
// Runs before the page's own scripts; nothing that is pressed during a walk is carried out.
"use strict";

(() => {
  const NATIVE = "a[href], button, input:not([type=hidden]), select, textarea, summary";
  const PRESSED = "a[href], button, summary, input[type=checkbox], input[type=radio]";
  const POINTER = ["click", "dblclick", "mousedown", "mouseup", "pointerdown", "touchstart", "wheel"];
  const CURSORS = ["pointer", "move", "crosshair", "grab", "nwse-resize"];

  const listening = new Map();
  const add = EventTarget.prototype.addEventListener;
  EventTarget.prototype.addEventListener = function (type, ...more) {
    if (this instanceof Element) {
      if (!listening.has(this)) listening.set(this, new Set());
      listening.get(this).add(type);
    }
    return add.call(this, type, ...more);
  };

  let walking = false, again = false, room, reached, acted, unseen;

  const outlined = (one) => {
    const style = getComputedStyle(one);
    return style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2 && style.opacity !== "0";
  };
  // All four sides of what is drawn around it lie beyond the page or what clips it.
  const cut = (one) => {
    const box = one.getBoundingClientRect();
    if (!box.width || !box.height || box.right < 0 || box.bottom < 0 || box.left > innerWidth || box.top > innerHeight) return true;
    for (let over = one.parentElement; over; over = over.parentElement) {
      if (getComputedStyle(over).overflow === "visible") continue;
      const room = over.getBoundingClientRect();
      if (box.left - 3 < room.left && box.right + 3 > room.right && box.top - 3 < room.top && box.bottom + 3 > room.bottom) return true;
    }
    return false;
  };

  add.call(window, "focusin", (event) => {
    const one = event.target;
    if (!walking || one === document.body) return;
    again ||= reached.has(one);
    if (!room.contains(one)) return;
    reached.add(one);
    const shown = [one, one.nextElementSibling].find((mark) => mark && outlined(mark));
    if (!shown || cut(shown)) unseen.add(one);
  }, true);
  for (const type of ["click", "submit"]) {
    add.call(window, type, (event) => {
      if (!walking) return;
      if (type === "click") acted.add(document.activeElement);
      event.preventDefault();
      event.stopImmediatePropagation();
    }, true);
  }

  const able = (one) => one.checkVisibility({ visibilityProperty: true }) && one.getClientRects().length > 0 && !one.disabled;
  const scrolls = (one) => ["auto", "scroll"].includes(getComputedStyle(one).overflowX); // on a narrower screen at least
  // Tab comes to one radio of a group, arrows to the others.
  const comesTo = (one) => reached.has(one) || (one.type === "radio" && [...reached].some((other) => other.type === "radio" && other.name === one.name && other.form === one.form));

  window.walk = {
    // From the beginning, or within the page's own content alone: the bar is the same everywhere.
    begin(whole) {
      room = whole ? document.body : document.getElementById("main");
      for (const one of document.querySelectorAll("details")) one.open = true;
      if (whole) document.activeElement?.blur(); else room.focus();
      [reached, acted, unseen] = [new Set(), new Set(), new Set()];
      [walking, again] = [true, false];
    },

    // What the element that has the focus is worked by; "end" once Tab has come round.
    here() {
      const one = document.activeElement;
      if (again || (one !== document.body && !room.contains(one))) return "end"; // round, or out of it
      if (!one?.matches(PRESSED)) return "";
      return one.matches("input") ? "Space" : "Enter";
    },

    end() {
      walking = false;
      const keyed = (one) => comesTo(one) && (one.matches(NATIVE) || one.ariaKeyShortcuts || listening.get(one)?.has("keydown"));
      const served = (one) => {
        for (let over = one; over; over = over.parentElement) {
          if (keyed(over) || (over.control && comesTo(over.control))) return true;
        }
        return [...one.querySelectorAll(NATIVE)].some(able); // it listens for those within it
      };
      const pressed = [...listening].filter(([, types]) => POINTER.some((type) => types.has(type))).map(([one]) => one);
      const pointed = [...room.querySelectorAll("*")].filter((one) => CURSORS.includes(getComputedStyle(one).cursor));
      const own = [...pressed, ...pointed].filter((one) => room.contains(one) && one !== document.body && able(one) && !one.matches("form")); // a form notes which button was pressed
      const told = (all) => [...new Set(all)].map((one) => one.outerHTML.replace(/\s+/g, " ").slice(0, 160));
      return {
        missed: told([...room.querySelectorAll(NATIVE)].filter((one) => able(one) && !comesTo(one))),
        alone: told(own.filter((one) => !served(one))),
        idle: told([...reached].filter((one) => one.isConnected && (one.matches(PRESSED) ? !acted.has(one) : !keyed(one) && !scrolls(one)))),
        unseen: told(unseen),
      };
    },
  };
})();
