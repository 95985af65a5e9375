// Unpacks plotly, and draws the figures in the colors of the theme; again when it changes, and for print.
(async () => {
  "use strict";
  const root = document.documentElement;
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const PRINT_WIDTH = 690;
  const PRINT_COLUMNS = 2;
  const GAP = 16;

  const unpacked = async (id) => {
    const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  };

  const run = (source) => {
    const script = document.createElement("script");
    script.textContent = source;
    document.head.append(script);
  };

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

  const printWidth = (place) => {
    if (!place.closest(".panels")) return PRINT_WIDTH;
    return (PRINT_WIDTH - GAP * (PRINT_COLUMNS - 1)) / PRINT_COLUMNS;
  };

  const draw = () => {
    const palette = getComputedStyle(root);
    const printing = root.classList.contains("printing");
    const hovers = matchMedia("(hover: hover)").matches;  // else the buttons always hide the legend
    let drawn = 0;
    for (const [id, figure] of Object.entries(figures)) {
      const { data, layout } = painted(figure, palette);
      const place = document.getElementById(id);
      place.style.height = `${layout.height}px`;  // else figures overlap once the window is resized
      if (printing) layout.width = printWidth(place);
      Plotly.react(id, data, layout, {
        responsive: !printing, displaylogo: false, displayModeBar: printing || !hovers ? false : "hover",
        modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
      });
      drawn += 1;
    }
    root.dataset.drawn = String(drawn);
  };

  try {
    run(await unpacked("plotly"));
  } catch {
    document.getElementById("no-figures").hidden = false;
    return;
  }
  const print = (on) => { root.classList.toggle("printing", on); draw(); };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  matchMedia("print").addEventListener("change", (event) => print(event.matches));
  addEventListener("beforeprint", () => print(true));
  addEventListener("afterprint", () => print(false));
  draw();
})();
