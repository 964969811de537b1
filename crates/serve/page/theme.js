// Before anything is drawn: the colours that were chosen last time, so that the page does not flash in others.
try {
  const theme = localStorage.getItem("foretoken-theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // A browser that keeps nothing has the system's colours.
}
