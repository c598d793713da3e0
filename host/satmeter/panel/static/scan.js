// Sends pictures of the camera, or a chosen one, to the panel, which reads codes out of them.
"use strict";
const satmeterScan = (() => {
  const LONGEST = 1600; // pixels: more than a code needs, and little enough to send
  const PAUSE_MS = 250;
  let stream = null;

  const says = (text) => { document.querySelector("[data-part=scan-says]").textContent = text; };
  const video = () => document.querySelector("video.camera");

  async function jpeg(source, width, height) {
    const scale = Math.min(1, LONGEST / Math.max(width, height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    canvas.getContext("2d").drawImage(source, 0, 0, canvas.width, canvas.height);
    return new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.92));
  }

  async function ask(blob, live) {
    const answer = await fetch("/scan" + (live ? "?live=true" : ""), { method: "POST", body: blob });
    if (answer.status === 401) { location.href = "/login"; return { texts: [], why: "" }; }
    return answer.json();
  }

  function found(texts) {
    says("");
    emitEvent("satmeter-scanned", { texts });
  }

  function stop() {
    if (stream) stream.getTracks().forEach((track) => track.stop());
    stream = null;
    video().hidden = true;
  }

  async function camera() {
    if (stream) { stop(); says(""); return; }
    if (!navigator.mediaDevices) {
      says("This browser gives a live camera only over https: take a picture instead, or start the panel with --tls-cert.");
      return;
    }
    try {
      const wanted = { video: { facingMode: "environment", width: { ideal: 1920 } }, audio: false };
      stream = await navigator.mediaDevices.getUserMedia(wanted);
    } catch (e) {
      says(e.name === "NotAllowedError" ? "The camera was not allowed: allow it in the browser, or take a picture."
        : "No camera here: take a picture instead.");
      return;
    }
    const v = video();
    v.srcObject = stream;
    v.hidden = false;
    await v.play();
    says("looking for a code");
    while (stream) {
      try {
        const answer = await ask(await jpeg(v, v.videoWidth, v.videoHeight), true);
        if (!stream) return;
        if (answer.texts.length) { stop(); found(answer.texts); return; }
        says(answer.why || "looking for a code");
      } catch (e) {
        says("The panel does not answer.");
      }
      await new Promise((done) => setTimeout(done, PAUSE_MS));
    }
  }

  async function picture(input) {
    const file = input.files[0];
    input.value = "";
    if (!file) return;
    says("reading the picture");
    let blob = file;
    try {
      const bitmap = await createImageBitmap(file);
      if (Math.max(bitmap.width, bitmap.height) > 4000) blob = await jpeg(bitmap, bitmap.width, bitmap.height);
    } catch (e) { /* the panel says what it is */ }
    try {
      const answer = await ask(blob, false);
      if (answer.texts.length) found(answer.texts); else says(answer.why);
    } catch (e) {
      says("The panel does not answer.");
    }
  }

  return { camera, picture };
})();
