// Draws a purchase's page anew when something about it has changed; without scripts the page does so every few seconds.
const known = document.currentScript.dataset.known;

async function look() {
  try {
    const answer = await fetch(location.href, { headers: { Accept: "application/json" } });
    if (answer.ok) {
      const now = await answer.json();
      if ([now.status, now.credit, now.used, now.ended, now.rest_msat, now.owed_msat, now.owed_why, now.refunded_msat, ""].join("|") !== known) {
        location.reload();
        return;
      }
    }
  } catch (error) {
    // the connection is lost: looked at again
  }
  setTimeout(look, 2000);
}

setTimeout(look, 2000);

// A wallet within the browser (WebLN) pays, or takes what is given back, where the code is clicked; without one the link opens the phone's wallet.
const code = document.querySelector("a.qr");
if (code) {
  code.addEventListener("click", async (event) => {
    if (!window.webln) return;
    event.preventDefault();
    try {
      const text = code.href.replace(/^lightning:/i, "");
      await window.webln.enable();
      if (!/^lnurl/i.test(text)) await window.webln.sendPayment(text);
      else if (window.webln.lnurl) await window.webln.lnurl(text);
      else location.assign(code.href);
    } catch (error) {
      location.assign(code.href);
    }
  });
}
