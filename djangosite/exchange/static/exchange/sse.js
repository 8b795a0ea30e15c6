/* The page over server-sent events, with nothing but the browser's own EventSource. It comes back by itself with the id
 * of the last message, and gets what it missed.
 */
(function () {
  "use strict";

  if (!window.ws_status) return; // a page without orders

  const path = "/livepush/sse?channels=orders&tab=" + livepush.tab;
  const source = new EventSource(ws_daemon + path, { withCredentials: true });
  let first = true;

  source.onmessage = (event) => {
    const message = JSON.parse(event.data);
    if (message.op === "event") {
      window["ws_order_" + message.type](message.data);
    } else if (message.op === "welcome") {
      ws_status("live", "Live");
      if (first || message.channels.orders.resync) ws_orders_load(); // else all that was missed has come before this
      first = false;
    } else if (message.op === "resync" || message.op === "back") {
      ws_orders_load();
    } else if (message.op === "close" && message.code >= 4400) {
      source.close(); // coming back would not help
      ws_status("off", "Not live: " + message.reason);
    }
  };

  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) ws_status("off", "Not live: reload the page to see changes");
    else ws_status("wait", "Connecting…");
  };
})();
