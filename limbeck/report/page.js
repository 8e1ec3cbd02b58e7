// Draws every figure in the colours of the page: light ones when printed, dark ones at night.
"use strict";
{
  const PAPER = 640; // CSS pixels that fit between the margins of A4 and of Letter
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const figures = read("figures");
  const partners = read("dark-partners");
  const night = matchMedia("(prefers-color-scheme: dark)");
  const paper = matchMedia("print");

  const recoloured = (value) =>
    typeof value === "string" ? (partners[value] ?? value)
    : Array.isArray(value) ? value.map(recoloured)
    : value && typeof value === "object"
      ? Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, recoloured(inner)]))
      : value;

  const draw = (printed) => {
    for (const place of document.querySelectorAll("[data-figure]")) {
      const original = figures[place.dataset.figure];
      const { data, layout } = night.matches && !printed ? recoloured(original) : structuredClone(original);
      layout.width = printed ? Math.min(place.clientWidth, PAPER) : place.clientWidth;
      Plotly.react(place, data, layout, { displayModeBar: false });
    }
  };

  draw(paper.matches);
  addEventListener("resize", () => draw(paper.matches));
  night.addEventListener("change", () => draw(paper.matches));
  addEventListener("beforeprint", () => draw(true));
  addEventListener("afterprint", () => draw(false));

  // A picture of a few pixels is shown as its pixels.
  for (const image of document.querySelectorAll(".cards img"))
    image.decode().then(() => image.classList.toggle("tiny", image.naturalWidth <= 96), () => {});
}
