/* Select2, which the admin's choices with a search are made of, tells nobody what they choose. */
addEventListener("load", () => {
  for (const label of document.querySelectorAll("label[for]")) {
    const shown = document.getElementById(`select2-${label.htmlFor}-container`);
    if (shown) shown.ariaLabel = label.textContent.trim();
  }
});
