/* Buttons that copy a value, and one that prints. Without script they stay hidden; a value can
   then be selected by one click (style sheet). */
for (const button of document.querySelectorAll("button[data-copies], button[data-prints]")) {
  button.hidden = false;
}

/* What a screen reader says of it. */
const said = document.createElement("p");
said.className = "unseen";
said.setAttribute("role", "status");
document.body.append(said);

/* navigator.clipboard is there by https alone; the older way works by http, too. */
async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const box = document.createElement("textarea");
  box.value = text;
  box.className = "unseen";
  document.body.append(box);
  box.select();
  const done = document.execCommand("copy");
  box.remove();
  if (!done) throw new Error("not copied");
}

document.addEventListener("click", async (event) => {
  if (event.target.closest("button[data-prints]")) window.print();
  const button = event.target.closest("button[data-copies]");
  if (!button) return;
  const from = document.getElementById(button.dataset.copies);
  try {
    await copy(from.value ?? from.textContent);
  } catch {
    /* Refused by the browser: select it, so that the keyboard can copy. */
    getSelection().selectAllChildren(from);
    return;
  }
  const words = button.textContent;
  if (button.dataset.done === words) return;
  button.textContent = said.textContent = button.dataset.done;
  setTimeout(() => {
    button.textContent = words;
    said.textContent = "";
  }, 2000);
});
