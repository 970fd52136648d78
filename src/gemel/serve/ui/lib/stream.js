// The twin's stream over WebSocket. After a break it goes on with what came since; if that is no longer kept, `gap` is called.

import { of } from "./api.js";

/** `heard`: topic -> function(body). Answers a function that ends it. */
export function watch(twin, heard, { gap = () => {}, state = () => {} } = {}) {
  const topics = Object.keys(heard).join(",");
  let socket, since = null, ended = false, wait = 500, timer;

  function open() {
    const address = new URL(of(twin, `/stream?topics=${topics}${since === null ? "" : `&since=${since}`}`), location.href);
    address.protocol = address.protocol.replace("http", "ws");
    socket = new WebSocket(address);
    socket.onmessage = ({ data }) => {
      const told = JSON.parse(data);
      if (told.topic === "hello") {
        wait = 500;
        state(true);
        if (told.gap && since !== null) gap();
        since ??= told.sequence;
        return;
      }
      if (told.topic === "dropped") return gap();
      since = told.sequence;
      heard[told.topic](told.body);
    };
    socket.onclose = () => {
      if (ended) return;
      state(false);
      timer = setTimeout(open, wait);
      wait = Math.min(wait * 2, 15000);
    };
  }

  open();
  return () => {
    ended = true;
    clearTimeout(timer);
    socket.close();
  };
}
