// Images are loaded when the reader says so, and only from the origins that the page's policy names.
const button = document.getElementById("load-images");
button.hidden = false;
button.addEventListener("click", () => {
  const places = document.querySelectorAll("[data-image]");
  for (const place of places) {
    const image = new Image();
    image.alt = ""; // the title beside it says what it is
    image.referrerPolicy = "no-referrer";
    image.loading = "lazy";
    image.src = place.dataset.image;
    place.replaceChildren(image);
  }
  const told = document.getElementById("images-loaded");
  told.textContent = `${places.length} images were asked for.`;
  told.tabIndex = -1; // the keyboard stays where it was when the button goes
  button.parentElement.replaceChildren(told);
  told.focus();
});
