/* The page over SockJS, with the stock client, written as such pages always were. The client does not come back by
 * itself and keeps no position, so the page does it: five seconds after a loss it connects anew and loads the list.
 */
(function () {
  "use strict";

  if (!window.ws_status) return; // a page without orders

  function ws_connect() {
    const ws = new SockJS(ws_daemon + "/orders?tab=" + livepush.tab, null, { transports: ws_transports });

    ws.onopen = () => {
      ws_status("live", "Live");
      ws_orders_load(); // what happened before this connection
    };

    ws.onmessage = (event) => window["ws_order_" + event.data.type](event.data.data);

    ws.onclose = (event) => {
      if (event.code >= 4400 && event.code < 4500) {
        ws_status("off", "Not live: " + event.reason); // coming back would not help
        return;
      }
      ws_status("wait", "Connecting…");
      setTimeout(ws_connect, 5000);
    };
  }

  ws_connect();
})();
