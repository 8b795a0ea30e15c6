/* The page over livepush's own WebSocket: livepush.js comes back by itself and says when something may be missing. */
(function () {
  "use strict";

  if (!window.ws_status) return; // a page without orders

  livepush.on("orders", "lock", ws_order_lock);
  livepush.on("orders", "done", ws_order_done);
  livepush.on("orders", "free", ws_order_free);
  livepush.onResync("orders", ws_orders_load);
  livepush.onAccess((channel, audience) => channel === "orders" && ws_access(audience));
  livepush.onPresence("orders", (users, { count }) => ws_present({ now: users, count }));
  ws_locks_by((order) => livepush.call("orders", "lock", { order }));

  let first = true;

  livepush.onStatus((status) => {
    if (status.state === "online") {
      ws_status("live", "Live");
      if (first) ws_orders_load(); // what happened between the making of this page and now
      first = false;
    } else if (status.state === "closed") {
      const again = status.code === 4401 ? "please log in again" : "reload the page to see changes";
      ws_status("off", "Not live: " + again);
    } else if (status.state === "offline") {
      ws_status("off", "Offline");
    } else {
      ws_status("wait", "Connecting…");
    }
  });
})();
