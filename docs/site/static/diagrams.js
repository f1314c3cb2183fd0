// Diagrams follow the theme of the page when it is loaded. A wide one fits into a wide page, and scrolls in a narrow one.
const chosen = document.body.dataset.theme;
const dark = chosen === "dark" || (chosen !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
mermaid.initialize({ startOnLoad: false, theme: dark ? "dark" : "default", fontFamily: "sans-serif" });
mermaid.run().then(() => {
    for (const drawing of document.querySelectorAll("pre.mermaid svg")) {
        drawing.style.minWidth = `${Math.min(drawing.viewBox.baseVal.width, 640)}px`;
    }
});
