// The theme's navigation of each code block gets a name of its own, and keys can scroll code and tables.
function improve() {
  document.querySelectorAll(".md-code__nav:not([aria-label])").forEach((nav) => {
    nav.setAttribute("aria-label", `Code block ${nav.parentElement.id.replace("__code_", "")}`);
  });
  document.querySelectorAll("pre > code:not([tabindex]), .md-typeset__scrollwrap:not([tabindex])").forEach((node) => {
    if (node.scrollWidth > node.clientWidth) node.tabIndex = 0;
  });
}

improve();
addEventListener("resize", improve);
new MutationObserver(improve).observe(document.body, { attributeFilter: ["tabindex"], childList: true, subtree: true });
