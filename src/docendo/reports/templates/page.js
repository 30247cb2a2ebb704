"use strict";
// Draws each figure when it comes near the window, and anew when the page turns light or dark.
(function () {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const figures = read("figures");
  const templates = read("templates");
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const places = Array.from(document.querySelectorAll("[data-figure]"));
  const drawn = new Set();

  function draw(place) {
    const figure = figures[place.dataset.figure];
    const layout = { ...figure.layout, template: templates[dark.matches ? "dark" : "light"] };
    const config = {
      responsive: true,
      displaylogo: false,
      displayModeBar: window.matchMedia("(hover: hover)").matches ? "hover" : false,
      modeBarButtons: [["toImage"]],
      toImageButtonOptions: { filename: place.dataset.figure, scale: 2 },
    };
    drawn.add(place);
    return Plotly.react(place, figure.data, layout, config);
  }

  const near = new IntersectionObserver(
    (entries) => entries.filter((entry) => entry.isIntersecting && !drawn.has(entry.target)).forEach((entry) => draw(entry.target)),
    { rootMargin: "800px" },
  );
  places.forEach((place) => near.observe(place));
  dark.addEventListener("change", () => drawn.forEach(draw));
  window.addEventListener("beforeprint", () => places.filter((place) => !drawn.has(place)).forEach(draw));
})();
