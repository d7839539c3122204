/* Looks at a page as it stands and returns a sentence for each fault: run in the page by tests.
   Contrast is WCAG 2.2's level AA (1.4.3): 4.5, or 3 for large text.
   Takes the language that the page shall be in, and whether it has to do without scripts. */
([language, scriptless]) => {
  const faults = [];
  for (const moving of document.getAnimations()) moving.finish();
  const shown = (element) =>
    element.checkVisibility({ visibilityProperty: true, opacityProperty: true });
  const name = (element) => {
    const classes = element.className && element.className.baseVal === undefined
      ? "." + String(element.className).trim().replaceAll(/\s+/g, ".") : "";
    return element.tagName.toLowerCase() + (element.id ? "#" + element.id : classes);
  };

  /* Colours */
  const colour = (text) => {
    const numbers = text.match(/-?[\d.]+(?:e-?\d+)?/g).map(Number);
    const scale = text.startsWith("color(") ? 255 : 1;
    const [red, green, blue, alpha = 1] = numbers;
    return [red * scale, green * scale, blue * scale, alpha];
  };
  const over = (front, back) =>
    [0, 1, 2].map((i) => front[i] * front[3] + back[i] * (1 - front[3])).concat(1);
  const canvas = matchMedia("(prefers-color-scheme: dark)").matches
    ? [18, 18, 18, 1] : [255, 255, 255, 1];
  const behind = (element) => {
    const layers = [];
    for (let one = element; one; one = one.parentElement) {
      const layer = colour(getComputedStyle(one).backgroundColor);
      if (layer[3] > 0) layers.push(layer);
      if (layer[3] === 1) break;
    }
    return layers.reduceRight((back, front) => over(front, back), canvas);
  };
  const luminance = ([red, green, blue]) => {
    const [r, g, b] = [red, green, blue].map((value) => {
      const part = value / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (one, other) => {
    const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  };
  const readable = (element, ink, words) => {
    const back = behind(element);
    const ratio = contrast(over(colour(ink), back), back);
    const { fontSize, fontWeight } = getComputedStyle(element);
    const large = parseFloat(fontSize) >= (fontWeight >= 700 ? 18.66 : 24);
    if (ratio < (large ? 3 : 4.5)) {
      faults.push(`contrast ${ratio.toFixed(2)} of “${words.trim().slice(0, 30)}” in ${name(element)}`);
    }
  };

  /* Text */
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const text = texts.currentNode;
    const element = text.parentElement;
    if (!text.data.trim() || !shown(element) || element.closest("script, style, option")) continue;
    const range = document.createRange();
    range.selectNodeContents(text);
    const box = range.getBoundingClientRect();
    const clipped = element.closest("[class*=hidden], .unseen");
    if (box.width <= 1 || box.right <= 0 || clipped) continue;
    readable(element, getComputedStyle(element).color, text.data);
  }
  for (const box of document.querySelectorAll("input, select, textarea")) {
    if (box.type === "hidden" || !shown(box)) continue;
    if (box.value && !["checkbox", "radio"].includes(box.type)) {
      readable(box, getComputedStyle(box).color, box.value);
    }
    if (box.placeholder && !box.value) {
      readable(box, getComputedStyle(box, "::placeholder").color, box.placeholder);
    }
    const labelled = box.labels?.length || box.ariaLabel || box.getAttribute("aria-labelledby");
    if (!labelled && !["submit", "button", "reset", "image"].includes(box.type)) {
      faults.push(`no label: ${name(box)}`);
    }
  }

  /* Names and references */
  for (const one of document.querySelectorAll("a[href], button, summary")) {
    if (shown(one) && one.ariaHidden !== "true" && !one.textContent.trim() && !one.ariaLabel && !one.title && !one.querySelector("img[alt]")) {
      faults.push(`no name: ${name(one)}`);
    }
  }
  const ids = [...document.querySelectorAll("[id]")].map((one) => one.id);
  for (const id of new Set(ids.filter((one, place) => ids.indexOf(one) !== place))) {
    faults.push(`id twice: ${id}`);
  }
  for (const attribute of ["aria-describedby", "aria-labelledby", "aria-controls", "for"]) {
    for (const one of document.querySelectorAll(`[${attribute}]`)) {
      for (const id of one.getAttribute(attribute).split(/\s+/)) {
        if (!document.getElementById(id)) faults.push(`${attribute} of ${name(one)}: no #${id}`);
      }
    }
  }
  if (document.documentElement.lang !== language) {
    faults.push(`lang is ${document.documentElement.lang}`);
  }
  if (document.querySelectorAll("h1").length !== 1) {
    faults.push(`${document.querySelectorAll("h1").length} h1`);
  }

  /* Pages of Django's own, for operators: axe-core alone judges what stands there. */
  const ours = Boolean(document.querySelector(".mark"));
  if (!ours) faults.length = 0;

  /* What needs a script shows itself only where there is one. */
  if (scriptless && ours) {
    for (const one of document.querySelectorAll("button, input[type=submit], input[type=button]")) {
      if (shown(one) && (!one.form || one.type === "button")) faults.push(`dead: ${name(one)}`);
    }
    for (const one of document.querySelectorAll("a:not([href]), [role=button]:not(button)")) {
      if (shown(one)) faults.push(`dead: ${name(one)}`);
    }
  }

  /* Room */
  const root = document.documentElement;
  if (root.scrollWidth > root.clientWidth) {
    const wide = [...document.body.querySelectorAll("*")].filter(
      (one) => shown(one) && one.getBoundingClientRect().right > root.clientWidth + 1,
    );
    faults.push(`scrolls sideways (${root.scrollWidth} > ${root.clientWidth}): ${
      wide.slice(0, 3).map(name).join(", ")}`);
  }
  for (const one of ours ? document.querySelectorAll("main :not(input)") : []) {
    const cuts = ["hidden", "clip"].includes(getComputedStyle(one).overflowX);
    if (cuts && shown(one) && one.clientWidth > 1 && one.scrollWidth > one.clientWidth + 1) {
      const edge = one.getBoundingClientRect().right;
      const wide = [...one.querySelectorAll("*")].filter(
        (inner) => inner.getBoundingClientRect().right > edge,
      );
      faults.push(`cut off: ${name(one)} (${one.scrollWidth} > ${one.clientWidth}) by ${
        wide.map((inner) => `${name(inner)} “${inner.textContent.trim().slice(0, 20)}”`)}`);
    }
  }
  for (const one of document.querySelectorAll("td > .actions")) {
    const middles = [...one.children].map((part) => {
      const { top, bottom } = part.getBoundingClientRect();
      return (top + bottom) / 2;
    });
    if (root.clientWidth >= 1280 && Math.max(...middles) - Math.min(...middles) > 10) {
      faults.push(`actions on two lines: ${one.textContent.trim().slice(0, 30)}`);
    }
  }
  return faults;
}
