// Draws the figures in the colours of the theme, again when the theme changes, and for print.
(() => {
  "use strict";
  const root = document.documentElement;
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const PRINT_WIDTH = 690;

  const painted = (value, palette) => {
    if (typeof value === "string") {
      return value.startsWith("@") ? palette.getPropertyValue("--" + value.slice(1)).trim() : value;
    }
    if (Array.isArray(value)) return value.map((each) => painted(each, palette));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, painted(v, palette)]));
    }
    return value;
  };

  const draw = () => {
    const palette = getComputedStyle(root);
    const printing = root.classList.contains("printing");
    let drawn = 0;
    for (const [id, figure] of Object.entries(figures)) {
      const { data, layout } = painted(figure, palette);
      if (printing) layout.width = PRINT_WIDTH;
      Plotly.react(id, data, layout, {
        responsive: !printing, displaylogo: false, displayModeBar: printing ? false : "hover",
        modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
      });
      drawn += 1;
    }
    root.dataset.drawn = String(drawn);
  };

  const print = (on) => { root.classList.toggle("printing", on); draw(); };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  matchMedia("print").addEventListener("change", (event) => print(event.matches));
  addEventListener("beforeprint", () => print(true));
  addEventListener("afterprint", () => print(false));
  draw();
})();
