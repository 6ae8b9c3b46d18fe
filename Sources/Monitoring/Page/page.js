"use strict";

// The states of a block, in the order of their codes in a map.
const states = ["zero", "present", "repeated", "neighbour", "link", "missing", "dirty"];
const names = {
    zero: "zero",
    present: "present",
    repeated: "repeated on this disk",
    neighbour: "from a neighbour",
    link: "over the link",
    missing: "missing",
    dirty: "written since it was sent",
};
const meanings = {
    zero: "nothing to transfer",
    present: "already in the destination's image",
    repeated: "copied within the disk",
    neighbour: "copied from other images there",
    link: "sent, before compression",
};
const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef";
const historySeconds = 300;

const cards = new Map();

function formatBytes(bytes) {
    const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let value = bytes;
    let unit = 0;
    while (value >= 1024 && unit < units.length - 1) {
        value /= 1024;
        unit += 1;
    }
    return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

function count(number, word) {
    return `${number} ${word}${number === 1 ? "" : "s"}`;
}

function formatSeconds(seconds) {
    if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
    if (seconds < 60) return `${seconds.toFixed(1)} s`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
    return `${Math.floor(seconds / 3600)} h ${Math.round(seconds % 3600 / 60)} min`;
}

function formatShare(part, whole) {
    if (part === 0 || whole === 0) return "0 %";
    const percent = 100 * part / whole;
    if (percent < 0.1) return "under 0.1 %";
    if (percent < 10) return `${percent.toFixed(1)} %`;
    return part === whole ? "100 %" : `${Math.min(99, Math.round(percent))} %`;
}

function color(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

// A cell's code is its largest state, plus 8 if some of its blocks are dirty, plus 16 if some are missing.
function decode(runs) {
    const cells = [];
    for (const [, letter, count] of runs.matchAll(/([A-Za-z])(\d*)/g)) {
        const code = letters.indexOf(letter);
        for (let left = count === "" ? 1 : Number(count); left > 0; left -= 1) cells.push(code);
    }
    return cells;
}

class BlockMap {
    constructor(canvas, caption) {
        this.canvas = canvas;
        this.caption = caption;
        this.cells = [];
        this.cellBytes = 0;
        this.size = 0;
        this.cursor = 0;
        canvas.addEventListener("keydown", (event) => this.move(event));
        canvas.addEventListener("pointermove", (event) => this.point(event));
        canvas.addEventListener("focus", () => this.select(this.cursor));
        canvas.addEventListener("blur", () => this.draw());
    }

    set(map, size) {
        this.cells = decode(map.runs);
        this.cellBytes = map.cellBytes;
        this.size = size;
        this.cursor = Math.min(this.cursor, Math.max(this.cells.length - 1, 0));
        this.canvas.setAttribute("aria-valuemax", Math.max(this.cells.length - 1, 0));
        this.draw();
        this.describe();
    }

    // The cells have one size, and fill the width.
    layout() {
        const width = Math.max(this.canvas.clientWidth, 1);
        const cell = width < 500 ? 6 : 9;
        this.columns = Math.max(1, Math.min(Math.floor(width / cell), Math.max(this.cells.length, 1)));
        this.side = Math.min(width / this.columns, 16);
        this.rows = Math.ceil(this.cells.length / this.columns);
        return width;
    }

    draw() {
        const width = this.layout();
        const scale = window.devicePixelRatio || 1;
        const height = Math.max(this.rows * this.side, 1);
        this.canvas.style.height = `${height}px`;
        this.canvas.width = Math.round(width * scale);
        this.canvas.height = Math.round(height * scale);
        const context = this.canvas.getContext("2d");
        context.scale(scale, scale);
        const colors = states.map(color);
        const line = color("line");
        const gap = this.side > 5 ? 1 : 0.5;
        const inner = this.side - gap;
        this.cells.forEach((code, index) => {
            const x = index % this.columns * this.side;
            const y = Math.floor(index / this.columns) * this.side;
            const state = code & 7;
            context.fillStyle = colors[state];
            context.fillRect(x, y, inner, inner);
            if (states[state] === "missing") {
                context.strokeStyle = line;
                context.strokeRect(x + 0.5, y + 0.5, inner - 1, inner - 1);
            }
            // A few blocks of a cell show as a corner.
            if (code & 16) this.corner(context, x, y, inner, colors[5], false);
            if (code & 8) this.corner(context, x, y, inner, colors[6], true);
        });
        if (document.activeElement === this.canvas) this.drawCursor(context, inner);
    }

    corner(context, x, y, side, fill, isTop) {
        context.fillStyle = fill;
        context.beginPath();
        if (isTop) {
            context.moveTo(x + side, y);
            context.lineTo(x + side, y + side * 0.7);
            context.lineTo(x + side * 0.3, y);
        } else {
            context.moveTo(x, y + side);
            context.lineTo(x, y + side * 0.3);
            context.lineTo(x + side * 0.7, y + side);
        }
        context.fill();
    }

    drawCursor(context, inner) {
        context.strokeStyle = color("focus");
        context.lineWidth = 2;
        const x = this.cursor % this.columns * this.side;
        const y = Math.floor(this.cursor / this.columns) * this.side;
        context.strokeRect(x, y, inner, inner);
    }

    move(event) {
        const steps = {
            ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.columns, ArrowDown: this.columns,
            PageUp: -8 * this.columns, PageDown: 8 * this.columns, Home: -this.cells.length, End: this.cells.length,
        };
        const step = steps[event.key];
        if (step === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
        event.preventDefault();
        this.select(this.cursor + step);
    }

    point(event) {
        const box = this.canvas.getBoundingClientRect();
        const column = Math.floor((event.clientX - box.left) / this.side);
        const index = Math.floor((event.clientY - box.top) / this.side) * this.columns + column;
        if (column < this.columns && index < this.cells.length) this.select(index);
    }

    select(index) {
        this.cursor = Math.min(Math.max(index, 0), Math.max(this.cells.length - 1, 0));
        this.draw();
        this.describe();
    }

    describe() {
        if (this.cells.length === 0) return;
        const code = this.cells[this.cursor];
        const start = this.cursor * this.cellBytes;
        const end = Math.min(start + this.cellBytes, this.size);
        const state = states[code & 7];
        let text = `${formatBytes(start)} to ${formatBytes(end)}: mostly ${names[state]}`;
        if (code & 16 && state !== "missing") text += ", some missing";
        if (code & 8 && state !== "dirty") text += ", some written since";
        this.caption.textContent = `Cell ${this.cursor + 1} of ${this.cells.length}, ${text}`;
        this.canvas.setAttribute("aria-valuenow", this.cursor);
        this.canvas.setAttribute("aria-valuetext", text);
    }
}

class Card {
    constructor(name) {
        const fragment = document.getElementById("export").content.cloneNode(true);
        this.root = fragment.querySelector("article");
        this.root.dataset.export = name;
        this.part = (selector) => this.root.querySelector(selector);
        this.part("h2").textContent = name;
        this.map = new BlockMap(this.part(".map canvas"), this.part(".cell"));
        this.part(".map canvas").setAttribute("aria-label", `Blocks of ${name}`);
        this.history = [];
        this.legend = this.rows(this.part(".legend"), states);
        this.rates = this.rows(this.part(".rates"), ["link", "reads", "writes"]);
        document.getElementById("exports").append(fragment);
    }

    // A list of colours, each with its text.
    rows(list, kinds) {
        return Object.fromEntries(kinds.map((kind) => {
            const item = document.createElement("li");
            const swatch = document.createElement("span");
            swatch.className = `swatch ${kind}`;
            const text = document.createElement("span");
            item.append(swatch, text);
            list.append(item);
            return [kind, text];
        }));
    }

    update(disk, time) {
        const facts = [disk.phase || disk.state, formatBytes(disk.size)];
        if (disk.destination) facts.push(`to ${disk.destination}`);
        facts.push(count(disk.clients, "client"));
        this.part(".facts").textContent = facts.join(" · ");
        this.root.dataset.state = disk.state;
        this.show(".problem", disk.problem);
        this.updateProgress(disk);
        this.part(".map").hidden = !disk.totals;
        this.part(".legend").hidden = !disk.totals;
        if (disk.map) this.map.set(disk.map, disk.size);
        if (disk.totals) this.updateLegend(disk);
        this.updateChart(disk, time);
        this.updateLedger(disk);
        this.show(".last", disk.last && this.lastText(disk.last));
    }

    show(selector, text) {
        const element = this.part(selector);
        element.hidden = !text;
        element.textContent = text || "";
    }

    updateProgress(disk) {
        const element = this.part(".progress");
        element.hidden = disk.percent === undefined;
        if (element.hidden) return;
        this.part("progress").value = disk.percent;
        this.part("progress").setAttribute("aria-label", `Progress of ${disk.name}`);
        const facts = [`${disk.percent.toFixed(disk.percent < 10 ? 1 : 0)} %`];
        if (disk.round) facts.unshift(`round ${disk.round}`);
        if (disk.secondsLeft !== undefined) facts.push(`${formatSeconds(disk.secondsLeft)} left`);
        if (disk.dirtyRate > 0) facts.push(`${formatBytes(disk.dirtyRate)}/s become dirty`);
        this.part(".progress-text").textContent = facts.join(" · ");
    }

    updateLegend(disk) {
        const whole = Object.values(disk.totals).reduce((sum, bytes) => sum + bytes, 0);
        for (const state of states) {
            const bytes = disk.totals[state];
            this.legend[state].textContent = `${names[state]}: ${formatShare(bytes, whole)}`;
            this.legend[state].parentElement.hidden = bytes === 0;
        }
    }

    updateChart(disk, time) {
        const before = this.history[this.history.length - 1];
        const point = { time, read: disk.read, written: disk.written, link: disk.linkRate || 0, reads: 0, writes: 0 };
        if (before && time > before.time) {
            point.reads = Math.max(0, disk.read - before.read) / (time - before.time);
            point.writes = Math.max(0, disk.written - before.written) / (time - before.time);
        }
        this.history.push(point);
        while (this.history.length > 0 && time - this.history[0].time > historySeconds) this.history.shift();
        this.part(".chart").hidden = !this.history.some((each) => each.link + each.reads + each.writes > 0);
        const now = { link: point.link, reads: point.reads, writes: point.writes };
        const labels = { link: "link", reads: "clients read", writes: "clients write" };
        for (const kind of Object.keys(now)) {
            this.rates[kind].textContent = `${labels[kind]}: ${formatBytes(now[kind])}/s`;
        }
        this.drawChart(time);
    }

    drawChart(time) {
        const canvas = this.part(".chart canvas");
        if (this.part(".chart").hidden) return;
        const scale = window.devicePixelRatio || 1;
        const [width, height] = [canvas.clientWidth, canvas.clientHeight];
        canvas.width = Math.round(width * scale);
        canvas.height = Math.round(height * scale);
        const context = canvas.getContext("2d");
        context.scale(scale, scale);
        const top = Math.max(1, ...this.history.flatMap((each) => [each.link, each.reads, each.writes]));
        context.lineWidth = 1.5;
        for (const kind of ["link", "reads", "writes"]) {
            context.strokeStyle = color(kind);
            context.beginPath();
            for (const each of this.history) {
                const x = width * (1 - (time - each.time) / historySeconds);
                context.lineTo(x, (height - 4) * (1 - each[kind] / top) + 2);
            }
            context.stroke();
        }
        context.fillStyle = color("faint");
        context.font = "12px system-ui, sans-serif";
        context.fillText(`${formatBytes(top)}/s`, 6, 14);
        canvas.setAttribute("aria-label", `Throughput of ${this.root.dataset.export}, at most ${formatBytes(top)}/s`);
    }

    updateLedger(disk) {
        const section = this.part(".ledger");
        section.hidden = !disk.ledger;
        if (section.hidden) return;
        const whole = Object.values(disk.ledger).reduce((sum, bytes) => sum + bytes, 0);
        const rows = Object.keys(meanings).map((source) => this.ledgerRow(
            `${source}: ${meanings[source]}`, formatBytes(disk.ledger[source]), formatShare(disk.ledger[source], whole)));
        if (disk.wire !== undefined) rows.push(this.ledgerRow("crossed the link, both ways", formatBytes(disk.wire), ""));
        this.part(".ledger tbody").replaceChildren(...rows);
    }

    ledgerRow(...texts) {
        const row = document.createElement("tr");
        for (const text of texts) {
            const cell = document.createElement("td");
            cell.textContent = text;
            row.append(cell);
        }
        return row;
    }

    lastText(last) {
        const end = new Date(last.end * 1000).toLocaleTimeString();
        return `Moved to ${last.destination} at ${end} in ${formatSeconds(last.seconds)}, `
            + `downtime ${formatSeconds(last.downtime)}.`;
    }
}

function update(event) {
    document.getElementById("node").textContent =
        [event.host, count(event.exports.length + event.more, "disk"), count(event.clients, "client")].join(" · ");
    document.title = `nearblock on ${event.host}: block map`;
    for (const [name, card] of cards) {
        if (event.exports.some((disk) => disk.name === name)) continue;
        card.root.remove();
        cards.delete(name);
    }
    for (const disk of event.exports) {
        if (!cards.has(disk.name)) cards.set(disk.name, new Card(disk.name));
        cards.get(disk.name).update(disk, event.time);
    }
    const more = document.getElementById("more");
    more.hidden = event.more === 0;
    more.textContent = `${event.more} further disks are not shown here; nearblock status lists all.`;
}

function setConnection(text, kind) {
    const element = document.getElementById("connection");
    element.textContent = text;
    element.className = kind;
}

function redraw() {
    for (const card of cards.values()) {
        card.map.draw();
        const last = card.history[card.history.length - 1];
        if (last) card.drawChart(last.time);
    }
}

const source = new EventSource("/events");
source.onmessage = (message) => {
    setConnection("live", "live");
    update(JSON.parse(message.data));
};
source.onerror = () => setConnection("no connection to the node; trying again", "lost");
window.addEventListener("resize", redraw);
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
