// Waits until the invoice is paid or has expired, then shows the page anew.
const where = document.currentScript.dataset.wait;
(async () => {
  for (;;) {
    const answer = await fetch(where).catch(() => null);
    if (answer && (answer.status === 204 || answer.status === 410 || answer.status === 404)) { location.reload(); return; }
    await new Promise((done) => setTimeout(done, answer && answer.status === 402 ? 0 : 2000));
  }
})();
