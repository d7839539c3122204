/* Select2, which the admin's choices with a search are made of, tells nobody what they choose.
   It begins when the page is ready, and so does this, after it. */
window.django?.jQuery?.(() => {
  for (const label of document.querySelectorAll("label[for]")) {
    const shown = document.getElementById(`select2-${label.htmlFor}-container`);
    if (shown) shown.ariaLabel = label.textContent.trim();
  }
});
