"use strict";
// Shows the words of whatever part of the drawing is pointed at; without it they are tooltips.
(function () {
  const line = document.getElementById("pointer");
  const rest = line.textContent;
  const drawing = document.querySelector("figure svg");
  drawing.addEventListener("pointermove", function (event) {
    const title = event.target.querySelector ? event.target.querySelector(":scope > title") : null;
    line.textContent = title ? title.textContent : rest;
  });
  drawing.addEventListener("pointerleave", function () { line.textContent = rest; });
})();
