"use strict";
// Two photos beside each other, or above, with what joins them: drawn on a canvas that is moved and zoomed.

const VIRIDIS = ["#375a8c", "#2d718e", "#24868e", "#1e9c89", "#2cb17e", "#52c569", "#86d549", "#c2df23", "#fde725"];
const PLASMA = ["#a62098", "#c13b82", "#d8576b", "#ea7457", "#f79342", "#feb72d"]; // without its darkest third
const REJECTED = "#ff3b30", KEPT = "#ffffff", GAP = 6, REACH = 14, SHADES = 32;

function mixed(colours, share) {
  const at = Math.max(0, Math.min(1, share)) * (colours.length - 1), i = Math.min(Math.floor(at), colours.length - 2);
  const part = (text, k) => parseInt(text.slice(1 + 2 * k, 3 + 2 * k), 16);
  const value = (k) => Math.round(part(colours[i], k) + (at - i) * (part(colours[i + 1], k) - part(colours[i], k)));
  return `rgb(${value(0)}, ${value(1)}, ${value(2)})`;
}
const SCORE = Array.from({ length: SHADES }, (_, i) => mixed(VIRIDIS, i / (SHADES - 1)));

class View {
  constructor(canvas, onPoint) {
    this.canvas = canvas;
    this.onPoint = onPoint; // called with what is pointed at, or null
    this.photos = [null, null]; // { image, width, height, mask }
    this.result = null;
    this.shown = { mode: "matches", which: "all", least: 0, lines: true, dim: true };
    this.point = null; // { side, index, x, y }: a keypoint, and where it is on the canvas
    this.scale = 1;
    this.x = this.y = 0;
    this.pointers = new Map();
    this.listen();
    new ResizeObserver(() => this.resize()).observe(canvas);
  }

  setPhoto(side, photo) {
    this.photos[side] = photo;
    this.setResult(null);
    this.fit();
  }

  setResult(answer) {
    this.point = null;
    this.onPoint(null);
    this.result = answer && prepared(answer);
    this.draw();
  }

  show(changes) {
    Object.assign(this.shown, changes);
    if (this.point && this.shown.mode === "matches" && !this.isShown(this.rowOf(this.point))) this.pointAt(null);
    this.draw();
  }

  // -- where things are: of a photo in pixels → of the canvas in CSS pixels

  layout(width, height) {
    // Beside each other at one height, or above each other at one width, if that is clearly larger.
    const sizes = this.photos.map((photo) => photo ?? this.photos.find(Boolean) ?? { width: 3, height: 2 });
    const [a, b] = sizes.map((size) => size.width / size.height);
    const tall = Math.min(height, (width - GAP) / (a + b)), wide = Math.min(width, (height - GAP) / (1 / a + 1 / b));
    if (tall ** 2 * (a + b) >= 0.75 * wide ** 2 * (1 / a + 1 / b)) { // lines from side to side are easier to follow
      const left = (width - tall * (a + b) - GAP) / 2, top = (height - tall) / 2;
      return [[left, top, tall / sizes[0].height], [left + tall * a + GAP, top, tall / sizes[1].height]];
    }
    const left = (width - wide) / 2, top = (height - wide / a - wide / b - GAP) / 2;
    return [[left, top, wide / sizes[0].width], [left, top + wide / a + GAP, wide / sizes[1].width]];
  }

  place(side, x, y) { // (0, 0) is the centre of the first pixel
    const [left, top, scale] = this.places[side];
    return [this.x + this.scale * (left + (x + 0.5) * scale), this.y + this.scale * (top + (y + 0.5) * scale)];
  }

  resize() {
    const ratio = devicePixelRatio || 1, { clientWidth, clientHeight } = this.canvas;
    this.canvas.width = Math.max(1, Math.round(clientWidth * ratio));
    this.canvas.height = Math.max(1, Math.round(clientHeight * ratio));
    this.fit();
  }

  fit() {
    const space = 12, { clientWidth, clientHeight } = this.canvas;
    this.places = this.layout(Math.max(1, clientWidth - 2 * space), Math.max(1, clientHeight - 2 * space));
    this.scale = 1;
    this.x = this.y = space;
    this.moved();
  }

  zoom(factor, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2) {
    const scale = Math.max(0.5, Math.min(80, this.scale * factor));
    this.x = x + (scale / this.scale) * (this.x - x);
    this.y = y + (scale / this.scale) * (this.y - y);
    this.scale = scale;
    this.moved();
  }

  pan(x, y) {
    this.x += x;
    this.y += y;
    this.moved();
  }

  moved() {
    if (this.point) {
      [this.point.x, this.point.y] = this.place(this.point.side, ...this.result.points[this.point.side][this.point.index]);
      this.onPoint(this.point);
    }
    this.draw();
  }

  // -- what is shown

  isShown(row) {
    if (row < 0) return false;
    const { inliers, scores } = this.result, { which, least } = this.shown;
    return scores[row] >= least && (which === "all" || !inliers || inliers[row] === (which === "inliers"));
  }

  rows() { // of matches that are shown, the best last
    return this.result ? this.result.order.filter((row) => this.isShown(row)) : [];
  }

  rowOf({ side, index }) {
    return this.result.rows[side][index] ?? -1;
  }

  partner({ side, index }) {
    const row = this.rowOf({ side, index });
    return row < 0 ? null : { side: 1 - side, index: this.result.pairs[row][1 - side], row };
  }

  // -- drawing

  draw() {
    if (this.asked) return;
    this.asked = requestAnimationFrame(() => {
      this.asked = 0;
      this.drawNow();
    });
  }

  drawNow() {
    const ratio = devicePixelRatio || 1, context = this.canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.paint(context);
  }

  paint(context) {
    this.photos.forEach((photo, side) => {
      if (!photo) return;
      const [x0, y0] = this.place(side, -0.5, -0.5), [x1, y1] = this.place(side, photo.width - 0.5, photo.height - 0.5);
      context.imageSmoothingEnabled = this.scale < 12;
      context.imageSmoothingQuality = "high";
      context.drawImage(photo.image, x0, y0, x1 - x0, y1 - y0);
      if (photo.mask) { // dark where no points are wanted
        context.globalCompositeOperation = "multiply";
        context.globalAlpha = 0.8;
        context.drawImage(photo.mask, x0, y0, x1 - x0, y1 - y0);
        context.globalCompositeOperation = "source-over";
        context.globalAlpha = 1;
      }
      if (this.result && this.shown.dim) {
        context.fillStyle = "rgba(14, 17, 22, 0.45)";
        context.fillRect(x0, y0, x1 - x0, y1 - y0);
      }
    });
    if (!this.result) return;
    if (this.shown.mode === "matches") this.paintMatches(context);
    else this.paintPoints(context);
    this.paintPoint(context);
  }

  paintMatches(context) {
    const { inliers, scores } = this.result, rows = this.rows(), weak = this.point ? 0.25 : 1;
    const bad = inliers ? rows.filter((row) => !inliers[row]) : [], good = inliers ? rows.filter((row) => inliers[row]) : rows;
    const strong = Math.max(0.14, Math.min(0.9, 7 / Math.sqrt(good.length + 1)));
    this.paintRows(context, bad, () => REJECTED, (good.length ? 0.35 : 0.6) * weak);
    const shades = Array.from({ length: SHADES }, () => []);
    for (const row of good) shades[Math.min(SHADES - 1, Math.floor(scores[row] * SHADES))].push(row);
    shades.forEach((some, shade) => this.paintRows(context, some, () => SCORE[shade], strong * weak));
  }

  paintRows(context, rows, colour, alpha) {
    if (!rows.length) return;
    const { pairs, points } = this.result, ends = rows.map((row) => [0, 1].map((side) => this.place(side, ...points[side][pairs[row][side]])));
    context.strokeStyle = context.fillStyle = colour();
    if (this.shown.lines) {
      context.globalAlpha = alpha;
      context.lineWidth = 1;
      context.beginPath();
      for (const [from, to] of ends) {
        context.moveTo(...from);
        context.lineTo(...to);
      }
      context.stroke();
    }
    context.globalAlpha = Math.min(1, alpha * 1.8 + 0.15);
    const size = this.scale > 3 ? 2.6 : 1.7;
    context.beginPath();
    for (const [x, y] of ends.flat()) {
      context.moveTo(x + size, y);
      context.arc(x, y, size, 0, 2 * Math.PI);
    }
    context.fill();
    context.globalAlpha = 1;
  }

  paintPoints(context) {
    const size = this.scale > 3 ? 3.2 : 2.2;
    for (const side of [0, 1]) {
      const groups = new Map();
      this.result.points[side].forEach((point, index) => {
        const colour = this.colourOf(side, index);
        if (!groups.has(colour)) groups.set(colour, []);
        groups.get(colour).push(point);
      });
      for (const [colour, points] of [...groups].sort(([one]) => (one === "#9aa4b0" ? -1 : 1))) {
        context.fillStyle = colour;
        context.beginPath();
        for (const point of points) {
          const [x, y] = this.place(side, ...point);
          context.moveTo(x + size, y);
          context.arc(x, y, size, 0, 2 * Math.PI);
        }
        context.fill();
        context.strokeStyle = "rgba(0, 0, 0, 0.55)";
        context.lineWidth = 0.6;
        context.stroke();
      }
    }
  }

  colourOf(side, index) { // of a keypoint: by its match, or by the layer after which it was dropped
    const row = this.result.rows[side][index] ?? -1;
    if (this.shown.mode === "points") return this.isShown(row) ? SCORE[Math.min(SHADES - 1, Math.floor(this.result.scores[row] * SHADES))] : "#9aa4b0";
    return this.result.isKept(side, index) ? KEPT : mixed(PLASMA, (this.result.prune[side][index] - 1) / Math.max(1, this.result.lastLayer - 1));
  }

  paintPoint(context) {
    if (!this.point) return;
    const partner = this.partner(this.point), shown = partner && (this.shown.mode !== "matches" || this.isShown(partner.row));
    const ends = [this.point, ...(shown ? [partner] : [])].map(({ side, index }) => this.place(side, ...this.result.points[side][index]));
    for (const [colour, width] of [["#000000", 4], ["#ffffff", 1.8]]) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.beginPath();
      if (ends.length === 2) {
        context.moveTo(...ends[0]);
        context.lineTo(...ends[1]);
      }
      for (const [x, y] of ends) {
        context.moveTo(x + 7, y);
        context.arc(x, y, 7, 0, 2 * Math.PI);
      }
      context.stroke();
    }
  }

  picture(caption) { // a canvas of its own, with all that is shown
    const made = document.createElement("canvas"), before = [this.places, this.scale, this.x, this.y, this.point];
    const probe = this.layout(1e4, 1e4), tall = Math.abs(probe[0][1] - probe[1][1]) > 100;
    const longest = (photo) => Math.min(2048, Math.max(photo.width, photo.height));
    const side = Math.max(900, ...this.photos.map(longest));
    this.places = this.layout(tall ? side : 2 * side, tall ? 2 * side : side);
    const [left, top] = [Math.min(...this.places.map((each) => each[0])), Math.min(...this.places.map((each) => each[1]))];
    const right = Math.max(...this.places.map((each, i) => each[0] + each[2] * this.photos[i].width));
    const bottom = Math.max(...this.places.map((each, i) => each[1] + each[2] * this.photos[i].height));
    [this.scale, this.x, this.y, this.point] = [1, -left, -top, null];
    made.width = Math.round(right - left);
    made.height = Math.round(bottom - top) + 40;
    const context = made.getContext("2d");
    context.fillStyle = "#14181e";
    context.fillRect(0, 0, made.width, made.height);
    this.paint(context);
    context.fillStyle = "#e6e9ee";
    context.font = "20px system-ui, sans-serif";
    context.fillText(caption, 12, made.height - 13, made.width - 24);
    [this.places, this.scale, this.x, this.y, this.point] = before;
    return made;
  }

  // -- pointing

  pointAt(point) {
    if (point === this.point || (point && this.point && point.side === this.point.side && point.index === this.point.index)) return;
    this.point = point;
    this.canvas.classList.toggle("over", Boolean(point));
    this.moved();
    if (!point) this.onPoint(null);
  }

  nearest(x, y) {
    if (!this.result) return null;
    let best = null, least = REACH ** 2;
    for (const side of [0, 1]) {
      this.result.points[side].forEach((point, index) => {
        if (this.shown.mode === "matches" && !this.isShown(this.result.rows[side][index] ?? -1)) return;
        const [u, v] = this.place(side, ...point), distance = (u - x) ** 2 + (v - y) ** 2;
        if (distance < least) [best, least] = [{ side, index, x: u, y: v }, distance];
      });
    }
    return best;
  }

  step(by) { // to the next match, the best first
    const rows = this.rows().reverse();
    if (!rows.length) return;
    const at = this.point ? rows.indexOf(this.rowOf(this.point)) : -1;
    const row = rows[at < 0 ? (by > 0 ? 0 : rows.length - 1) : (at + by + rows.length) % rows.length];
    this.pointAt({ side: 0, index: this.result.pairs[row][0], x: 0, y: 0 });
    const { x, y } = this.point, { clientWidth, clientHeight } = this.canvas;
    if (x < 0 || y < 0 || x > clientWidth || y > clientHeight) this.pan(clientWidth / 2 - x, clientHeight / 2 - y);
  }

  listen() {
    const canvas = this.canvas, at = (event) => {
      const box = canvas.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016) * (event.ctrlKey ? 4 : 1)), ...at(event));
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, at(event));
      if (event.pointerType !== "mouse") this.pointAt(this.nearest(...at(event)));
    });
    canvas.addEventListener("pointermove", (event) => {
      const now = at(event), before = this.pointers.get(event.pointerId);
      if (!before) return this.pointAt(this.nearest(...now));
      const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
      if (other) {
        const gap = ([x, y]) => Math.hypot(x - other[0], y - other[1]);
        this.pan((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
        this.zoom(gap(now) / Math.max(gap(before), 1), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
      } else this.pan(now[0] - before[0], now[1] - before[1]);
      this.pointers.set(event.pointerId, now);
    });
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => this.pointers.delete(event.pointerId));
    canvas.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && this.pointAt(null));
    canvas.addEventListener("dblclick", (event) => this.zoom(2.5, ...at(event)));
    canvas.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
      const keys = {
        ArrowLeft: () => this.pan(60, 0), ArrowRight: () => this.pan(-60, 0), ArrowUp: () => this.pan(0, 60), ArrowDown: () => this.pan(0, -60),
        "+": () => this.zoom(1.4), "=": () => this.zoom(1.4), "-": () => this.zoom(1 / 1.4), 0: () => this.fit(),
        n: () => this.step(1), p: () => this.step(-1), Escape: () => this.pointAt(null),
      };
      if (!keys[key]) return;
      event.preventDefault();
      keys[key]();
    });
  }
}

function prepared(answer) {
  const { indices, scores, inliers } = answer.matches, rows = [[], []];
  indices.forEach(([i, j], row) => {
    rows[0][i] = row;
    rows[1][j] = row;
  });
  const prune = answer.prune0 && [answer.prune0, answer.prune1];
  const stayed = prune?.map((layers, side) => {
    const matched = indices.map((pair) => layers[pair[side]]);
    return (matched.length ? matched : layers).reduce((most, layer) => Math.max(most, layer), 0);
  });
  const isKept = (side, index) => !prune || prune[side][index] >= stayed[side];
  const dropped = prune ? prune.flatMap((layers, side) => layers.filter((layer) => layer < stayed[side])) : [];
  return {
    points: [answer.keypoints0, answer.keypoints1], pairs: indices, scores, inliers, rows, prune, isKept,
    lastLayer: dropped.reduce((most, layer) => Math.max(most, layer), 1), dropped: dropped.length,
    order: scores.map((_, row) => row).sort((a, b) => scores[a] - scores[b]),
  };
}
