"use strict";
(() => {
  const data = JSON.parse(document.getElementById("scan-data").textContent);
  const MINUS = "\u2212";
  // Characters of a label from which on it has a line of its own on a narrow screen.
  const LONG_LABEL = 20;

  /** A new element with text; content is never parsed as HTML. */
  function made(name, text = "", attributes = {}) {
    const element = document.createElement(name);
    element.textContent = text;
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  }

  /** Writes numbers with as many decimals as the largest of them needs for four digits. */
  function writer(numbers, sign) {
    const largest = Math.max(0, ...numbers.filter((each) => each !== null).map(Math.abs));
    const magnitude = largest > 0 ? Math.floor(Math.log10(largest)) : 0;
    const nDecimals = Math.min(9, Math.max(0, 3 - magnitude));
    return (value) => {
      if (value === null || value === undefined) return "not a number";
      const text = largest < 1e9 ? value.toFixed(nDecimals) : value.toExponential(3);
      return (sign && value > 0 ? "+" : "") + text.replace("-", MINUS);
    };
  }

  /** The section of a probe: what is pointed at goes to the readout, what is chosen to the items. */
  class Section {
    constructor(root) {
      this.root = root;
      this.probe = data.probes[Number(root.dataset.probe)];
      this.readout = root.querySelector(".readout");
      this.items = root.querySelector(".items");
      this.chosen = null;
      root.addEventListener("pointerover", (event) => this.onMark(event, (k) => this.show(k)));
      root.addEventListener("focusin", (event) => this.onMark(event, (k, mark) => this.focus(k, mark)));
      root.addEventListener("click", (event) => this.onMark(event, (k, mark) => this.click(k, mark)));
      root.addEventListener("keydown", (event) => this.onMark(event, (k, mark) => this.key(event, k, mark)));
      root.querySelector(".maps").addEventListener("pointerleave", () => this.show(this.chosen));
      const everything = root.querySelector(".everything button");
      if (everything) everything.addEventListener("click", () => this.listAll(everything.parentNode));
      const isLong = this.probe.labels.some((label) => label.length > LONG_LABEL);
      this.items.querySelector("table").classList.toggle("long", isLong);
      if (this.probe.paths.length > 0) this.choose(0);
    }

    onMark(event, act) {
      const mark = event.target.closest("[data-path]");
      if (mark) act(Number(mark.dataset.path), mark);
    }

    focus(index, mark) {
      const plot = mark.closest(".plot");
      if (plot) {
        for (const other of plot.querySelectorAll('[tabindex="0"]')) other.setAttribute("tabindex", "-1");
        mark.setAttribute("tabindex", "0");
      }
      this.show(index);
    }

    click(index, mark) {
      this.choose(index);
      if (mark.closest(".plot")) return;
      this.items.scrollIntoView({ block: "start" });
      this.items.querySelector("h3").focus({ preventScroll: true });
    }

    key(event, index, mark) {
      const isButton = mark.tagName === "BUTTON";
      if (!isButton && (event.key === "Enter" || event.key === " ")) {
        event.preventDefault();
        this.click(index, mark);
        return;
      }
      const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
      if (!(event.key in steps) || !mark.closest("svg")) return;
      event.preventDefault();
      const next = mark.closest(".plot") ? cellBeside(mark, steps[event.key]) : barBeside(mark, steps[event.key][0]);
      if (next) next.focus();
    }

    /** Shows the figures of a path, and where its cell is. */
    show(index) {
      if (index === null) return;
      const path = this.probe.paths[index];
      const rows = [
        ["layer path", path.layers], ["search", path.search], ["held out", path.heldOut], ["z", path.z],
        ["p", path.p], ["weights", path.cost[0]], ["KV cache", path.cost[1]], ["blocks", path.cost[2]],
      ];
      const list = made("dl");
      for (const [term, value] of rows) {
        const isWide = term === "layer path" || value.includes("±");
        list.append(made("dt", term), made("dd", value, { class: isWide ? "all" : "" }));
      }
      const parts = [made("p", path.name, { class: "name" }), list];
      if (path.remark) parts.push(made("p", path.remark, { class: "remark" }));
      this.readout.replaceChildren(...parts);
      this.mark(index);
    }

    mark(index) {
      for (const plot of this.root.querySelectorAll(".plot")) {
        const cell = plot.querySelector(`[data-path="${index}"]`);
        const cursor = plot.querySelector(".cursor");
        cursor.setAttribute("visibility", cell ? "visible" : "hidden");
        if (!cell) continue;
        for (const side of ["x", "y"]) cursor.setAttribute(side, cell.getAttribute(side));
      }
    }

    /** Shows a path with the command that writes it, and its items. */
    choose(index) {
      this.chosen = index;
      this.show(index);
      const path = this.probe.paths[index];
      const find = (selector) => this.items.querySelector(selector);
      this.items.hidden = false;
      find("h3").textContent = `${this.probe.isJoint ? "Probes" : "Items"} of ${path.name}`;
      find(".path").textContent = `Layer path ${path.layers}`;
      find(".command").hidden = path.notWritable !== "";
      find("code").textContent = `ggufsurgeon patch ${data.model} best.gguf --layers ${path.argument}`;
      find(".remark").textContent = path.remark;
      find(".scroll").hidden = path.differences.length === 0;
      find("tbody").replaceChildren(...this.itemRows(path));
    }

    itemRows(path) {
      const base = writer(this.probe.bases, false);
      const difference = writer(path.differences, true);
      return path.differences.map((value, k) => {
        const row = made("tr");
        const name = made("td", this.probe.labels[k]);
        const figure = made("td", difference(value), { class: value > 0 ? "up" : "down" });
        if (this.probe.isJoint) row.append(name, figure);
        else {
          const use = made("td", this.probe.heldOut[k] ? "held out" : "search", { class: "held-out" });
          row.append(name, made("td", base(this.probe.bases[k])), figure, use);
        }
        return row;
      });
    }

    /** Replaces the button by a table of all paths, which a large scan has thousands of. */
    listAll(place) {
      const names = ["path", "layer path", "search", "held out", "z", "p", "weights", "KV", "blocks", ""];
      const head = made("tr");
      head.append(...names.map((name) => made("th", name, { scope: "col" })));
      const rows = this.probe.paths.map((path, k) => {
        const row = made("tr");
        const name = made("td");
        name.append(made("button", path.name, { type: "button", "data-path": k }));
        const texts = [path.layers, path.search, path.heldOut, path.z, path.p, ...path.cost, path.remark];
        row.append(name, ...texts.map((text) => made("td", text)));
        return row;
      });
      const table = made("table");
      const [thead, tbody] = [made("thead"), made("tbody")];
      thead.append(head);
      tbody.append(...rows);
      table.append(thead, tbody);
      const scroll = made("div", "", { class: "scroll", tabindex: "0", role: "region", "aria-label": "all paths" });
      scroll.append(table);
      place.replaceChildren(scroll);
    }
  }

  /** The next cell of a map in a direction; places without one are skipped. */
  function cellBeside(cell, [right, down]) {
    const plot = cell.closest(".plot");
    const n = plot.viewBox.baseVal.width;
    let [x, y] = ["x", "y"].map((side) => Number(cell.getAttribute(side)));
    for (;;) {
      x += right;
      y += down;
      if (x < 0 || y < 0 || x >= n || y >= n) return null;
      const next = plot.querySelector(`[data-path][x="${x}"][y="${y}"]`);
      if (next) return next;
    }
  }

  function barBeside(bar, right) {
    const bars = [...bar.closest("svg.bars").querySelectorAll("[data-path]")];
    return bars[bars.indexOf(bar) + right] ?? null;
  }

  /** Copies the code before a button; where the clipboard is closed, leaves the text selected. */
  async function copy(button) {
    const code = button.previousElementSibling;
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code);
      button.textContent = document.execCommand("copy") ? "Copied" : "Selected";
    }
    setTimeout(() => (button.textContent = "Copy"), 2000);
  }

  for (const root of document.querySelectorAll("section[data-probe]")) new Section(root);
  for (const button of document.querySelectorAll(".copy")) button.addEventListener("click", () => copy(button));
})();
