"use strict";
// Asks for the page again every five seconds and puts its content in place. Without an answer the numbers stay, dimmed,
// under a sentence that says how old they are.
(() => {
  const every = 5000;
  const limit = 4000;
  let since = new Date();
  const refresh = async () => {
    try {
      const reply = await fetch("/", { signal: AbortSignal.timeout(limit), cache: "no-store" });
      if (!reply.ok) throw new Error(String(reply.status));
      const next = new DOMParser().parseFromString(await reply.text(), "text/html");
      for (const part of ["header", "main"]) {
        const fresh = next.querySelector(part);
        const shown = document.querySelector(part);
        if (fresh && shown && !shown.isEqualNode(fresh)) shown.replaceWith(document.adoptNode(fresh));
      }
      document.title = next.title;
      document.body.classList.remove("stale");
      since = new Date();
    } catch {
      document.getElementById("since").textContent = since.toLocaleTimeString();
      document.body.classList.add("stale");
    }
    setTimeout(refresh, every);
  };
  setTimeout(refresh, every);
})();
