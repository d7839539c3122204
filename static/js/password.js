/* A button that shows or hides what stands in a password box. Without script it stays hidden. */
function prepare(root) {
  for (const button of root.querySelectorAll("button[data-shows]")) {
    button.hidden = false;
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-shows]");
  if (!button) return;
  const box = document.getElementById(button.dataset.shows);
  const shown = box.type === "password";
  box.type = shown ? "text" : "password";
  button.setAttribute("aria-pressed", String(shown));
});

prepare(document);
document.addEventListener("htmx:load", (event) => prepare(event.target));
