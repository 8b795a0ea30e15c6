// The tab: its id, and the requests that carry it.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Page } from "./page.mjs";

const HOME = "https://shop.example/orders/";

function marksOfFetch(page) {
  return page.requests.map(({ input, init }) => {
    const headers = init && init.headers ? new Headers(init.headers) : input.headers;
    return headers ? headers.get("x-livepush-tab") : null;
  });
}

test("the id of a tab survives the way to its next page, and a duplicate of the tab gets another", () => {
  const storage = new Map();
  const first = new Page({ storage });
  assert.match(first.livepush.tab, /^[0-9a-f]{24}$/);
  const duplicate = new Page({ storage: new Map(storage) });
  first.window.fire("pagehide", { persisted: false });
  const second = new Page({ storage });
  assert.equal(second.livepush.tab, first.livepush.tab);
  assert.notEqual(duplicate.livepush.tab, first.livepush.tab);
  assert.equal(storage.size, 0);
});

test("a page out of the browser's cache takes its id back, so that a duplicate can't have it", () => {
  const storage = new Map();
  const page = new Page({ storage });
  page.window.fire("pagehide", { persisted: true });
  assert.equal(storage.size, 1);
  page.window.fire("pageshow", { persisted: true });
  assert.equal(storage.size, 0);
});

test("an id that was left behind long ago, or is none, is not taken", () => {
  for (const kept of ["x", "", "0123456789abcdef01234567", `${"a".repeat(24)} 1699999939999`]) {
    const storage = new Map([["livepush.tab", kept]]);
    assert.notEqual(new Page({ storage }).livepush.tab, kept.slice(0, 24), kept);
    assert.equal(storage.size, 0);
  }
});

test("a frame does not take the id of the page around it", () => {
  const storage = new Map();
  const page = new Page({ storage });
  page.window.fire("pagehide", { persisted: false });
  assert.notEqual(new Page({ storage, framed: true }).livepush.tab, page.livepush.tab);
});

test("a browser without storage gets an id for each page", () => {
  const page = new Page({ storage: null });
  assert.match(page.livepush.tab, /^[0-9a-f]{24}$/);
  page.window.fire("pagehide", { persisted: false });
  page.window.fire("pageshow", { persisted: true });
  assert.deepEqual(page.errors, []);
});

test("fetch to the page's own origin carries the tab, however it is written", () => {
  const page = new Page();
  const { fetch } = page.context;
  fetch("/orders/5/lock/", { method: "POST" });
  fetch(new URL("/x", HOME), { method: "put", headers: { "X-CSRFToken": "c" } });
  fetch(new Request("https://shop.example/x", { method: "DELETE", headers: { A: "b" } }));
  fetch("/x", { method: "PATCH", headers: new Headers([["A", "b"]]) });
  fetch("/x", { method: "POST", headers: [["A", "b"]] });
  assert.deepEqual(marksOfFetch(page), Array(5).fill(page.livepush.tab));
  assert.equal(page.requests[1].init.headers.get("x-csrftoken"), "c");
  assert.equal(page.requests[2].init.headers.get("a"), "b");
  assert.equal(page.requests[4].init.headers.get("a"), "b");
});

test("fetch to anywhere else, and what changes nothing, is left as it was", () => {
  const page = new Page();
  const { fetch } = page.context;
  const init = { method: "POST" };
  fetch("https://shop.example:444/x", init);
  fetch("http://shop.example/x", init);
  fetch("https://shop.example.evil.example/x", init);
  fetch("//evil.example/x", init);
  fetch(new Request("https://evil.example/x", init));
  fetch("/x");
  fetch("/x", { method: "HEAD" });
  fetch("http://[", init);
  assert.deepEqual(marksOfFetch(page), Array(8).fill(null));
  assert.equal(page.requests[0].init, init);
});

test("a page without an origin of its own marks nothing: a file is a stranger to every other file", () => {
  const page = new Page({ location: "file:///home/anna/orders.html", config: null });
  page.context.fetch("other.html", { method: "POST" });
  assert.deepEqual(marksOfFetch(page), [null]);
});

test("the base of the page is what a relative address is relative to", () => {
  const page = new Page({ base: "https://cdn.example/app/" });
  page.context.fetch("lock/", { method: "POST" });
  assert.deepEqual(marksOfFetch(page), [null]);
});

test("options that can't be copied are handed on unmarked, and a header of the page's own is kept", () => {
  const page = new Page();
  const request = new Request("https://shop.example/x", { method: "POST" });
  class Options {
    get method() {
      return "POST";
    }
  }
  const options = new Options();
  page.context.fetch("/x", request);
  page.context.fetch("/x", options);
  assert.equal(page.requests[0].init, request);
  assert.equal(page.requests[1].init, options);
  page.context.fetch("/x", { method: "POST", headers: { "x-livepush-tab": "mine" } });
  assert.equal(marksOfFetch(page)[2], "mine");
});

test("the caller's options and headers are not written to", () => {
  const page = new Page();
  const headers = new Headers();
  const init = Object.freeze({ method: "POST", headers });
  page.context.fetch("/x", init);
  assert.equal(headers.has("x-livepush-tab"), false);
  assert.equal(page.requests[0].init.method, "POST");
});

test("XMLHttpRequest carries the tab to the page's own origin only", () => {
  const page = new Page();
  const send = (method, url, header) => {
    const request = new page.context.XMLHttpRequest();
    request.open(method, url);
    if (header) request.setRequestHeader(...header);
    request.send(null);
    return page.requests[page.requests.length - 1].headers;
  };
  const mark = [["X-Livepush-Tab", page.livepush.tab]];
  assert.deepEqual(send("post", "lock/"), mark);
  assert.deepEqual(send("PUT", HOME, ["A", "b"]), [["A", "b"], ...mark]);
  assert.deepEqual(send("POST", "/x", ["x-livepush-tab", "mine"]), [["x-livepush-tab", "mine"]]);
  assert.deepEqual(send("GET", "/x"), []);
  assert.deepEqual(send("POST", "https://evil.example/"), []);
  assert.deepEqual(send("POST", "http://["), []);
});

test("an XMLHttpRequest opened a second time is judged by where it goes now", () => {
  const page = new Page();
  const request = new page.context.XMLHttpRequest();
  request.open("POST", "/x");
  request.open("POST", "https://evil.example/");
  request.send();
  assert.deepEqual(page.requests[0].headers, []);
});

test("a POST form to the page's own origin carries the tab, by a button as by submit()", () => {
  const page = new Page();
  const mark = { livepush_tab: page.livepush.tab };
  assert.deepEqual(page.submit(page.form({ method: "post" })), mark);
  assert.deepEqual(page.submit(page.form({ method: "POST", action: "/orders/5/lock/" })), mark);
  const form = page.form({ method: "post" });
  form.submit();
  assert.deepEqual(form.fields, mark);
});

test("a submit() that the browser ignores marks nothing later", () => {
  const page = new Page();
  const form = page.form({ method: "post", disconnected: "" });
  form.submit();
  assert.deepEqual(page.collect(form), {});
});

test("a form that goes elsewhere, or by GET, is left as it was", () => {
  const page = new Page();
  for (const attributes of [
    {},
    { method: "get" },
    { method: "dialog" },
    { method: "post", action: "https://evil.example/" },
    { method: "post", action: "http://[" },
    { method: "post", action: "mailto:someone@shop.example" },
    { method: "post", action: "javascript:void(0)" },
  ]) {
    assert.deepEqual(page.submit(page.form(attributes)), {}, JSON.stringify(attributes));
    const form = page.form(attributes);
    form.submit();
    assert.deepEqual(form.fields, {});
  }
});

test("the button that was pressed decides where a form goes and how", () => {
  const page = new Page();
  const mark = { livepush_tab: page.livepush.tab };
  const evil = { formaction: "https://evil.example/" };
  assert.deepEqual(page.submit(page.form({ method: "post" }), page.button(evil)), {});
  assert.deepEqual(page.submit(page.form({ method: "post" }), page.button({ formmethod: "get" })), {});
  assert.deepEqual(page.submit(page.form({}), page.button({ formmethod: "post" })), mark);
  const home = page.button({ formaction: "/orders/5/done/" });
  assert.deepEqual(page.submit(page.form({ method: "post", action: "https://evil.example/" }), home), mark);
});

test("a script's own FormData of a form is left as it was: nobody knows where it goes", () => {
  const page = new Page();
  const form = page.form({ method: "post" });
  assert.deepEqual(page.collect(form), {});
  let inHandler = null;
  const sent = page.submit(form, null, (event) => {
    inHandler = page.collect(form);
    event.defaultPrevented = true;
  });
  assert.deepEqual([inHandler, sent], [{}, null]);
  assert.deepEqual(page.collect(form), {});
  assert.deepEqual(page.submit(form), { livepush_tab: page.livepush.tab });
  assert.deepEqual(page.collect(form), {});
});
