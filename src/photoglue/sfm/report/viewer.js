"use strict";
/* A viewer of points and cameras on WebGL 1. The scene is around the origin, about of size one, with y up. */
const FOV = 0.8, NEAR = 0.002, FAR = 400;

/* 4 x 4 matrices, column by column as WebGL has them. */
const multiply = (a, b) => {
  const c = new Float32Array(16);
  for (let j = 0; j < 4; j++) for (let i = 0; i < 4; i++) {
    let sum = 0;
    for (let k = 0; k < 4; k++) sum += a[4 * k + i] * b[4 * j + k];
    c[4 * j + i] = sum;
  }
  return c;
};
const perspective = (tangent, aspect) => {
  const depth = NEAR - FAR;
  return new Float32Array([1 / (tangent * aspect), 0, 0, 0, 0, 1 / tangent, 0, 0, 0, 0, (NEAR + FAR) / depth, -1, 0, 0, 2 * NEAR * FAR / depth, 0]);
};
/* From the rows of a rotation (x right, y up, z backwards) and where the eye is. */
const viewMatrix = (rows, eye) => {
  const m = new Float32Array(16);
  for (let i = 0; i < 3; i++) {
    for (let k = 0; k < 3; k++) m[4 * k + i] = rows[3 * i + k];
    m[12 + i] = -(rows[3 * i] * eye[0] + rows[3 * i + 1] * eye[1] + rows[3 * i + 2] * eye[2]);
  }
  m[15] = 1;
  return m;
};
const clamp = (x, low, high) => Math.min(Math.max(x, low), high);

const SHADERS = {
  points: [`attribute vec3 p; attribute vec3 c; uniform mat4 m; uniform float size; uniform float least; uniform float most; varying vec3 colour;
    void main() { gl_Position = m * vec4(p, 1.0); gl_PointSize = clamp(size / gl_Position.w, least, most); colour = pow(c, vec3(0.8)); }`,
  `precision mediump float; varying vec3 colour;
    void main() { vec2 d = gl_PointCoord - 0.5; if (dot(d, d) > 0.25) discard; gl_FragColor = vec4(colour, 1.0); }`],
  /* Each line is four corners; those behind the eye are pulled to just before it. */
  lines: [`attribute vec3 p; attribute vec3 q; attribute vec2 at; attribute vec4 c; uniform mat4 m; uniform vec2 screen; uniform float width; varying vec4 colour;
    void main() {
      vec4 a = m * vec4(p, 1.0), b = m * vec4(q, 1.0);
      if (a.w < ${NEAR} && b.w < ${NEAR}) { gl_Position = vec4(2.0, 2.0, 2.0, 1.0); colour = c; return; }
      if (a.w < ${NEAR}) a = mix(b, a, (b.w - ${NEAR}) / (b.w - a.w));
      if (b.w < ${NEAR}) b = mix(a, b, (a.w - ${NEAR}) / (a.w - b.w));
      vec2 way = (b.xy / b.w - a.xy / a.w) * screen;
      float far = length(way);
      vec2 side = far > 1e-6 ? vec2(-way.y, way.x) / far : vec2(0.0, 1.0);
      vec4 end = at.x < 0.5 ? a : b;
      gl_Position = vec4(end.xy + side * at.y * width / screen * end.w, end.zw); colour = c; }`,
  `precision mediump float; varying vec4 colour; void main() { gl_FragColor = colour; }`],
  photo: [`attribute vec3 p; attribute vec2 at; uniform mat4 m; varying vec2 uv; void main() { gl_Position = m * vec4(p, 1.0); uv = at; }`,
  `precision mediump float; varying vec2 uv; uniform sampler2D photo; uniform float alpha; void main() { gl_FragColor = vec4(texture2D(photo, uv).rgb, alpha); }`],
};

class Viewer {
  /* scene: points, colours, cameras as typed arrays; onPick(camera or -1) after a click, onHover(camera, x, y). */
  constructor(canvas, scene, onPick, onHover) {
    Object.assign(this, { canvas, onPick, onHover, points: scene.points, colours: scene.colours, cameras: scene.cameras, marked: scene.marked || new Set() });
    this.count = scene.cameras.length / 14;
    this.chosen = -1; this.hovered = -1; this.neighbours = new Map(); this.through = false;
    this.pointScale = 1; this.cameraScale = 1;
    this.baseSize = this.usualGap();
    this.gl = canvas.getContext("webgl", { antialias: true });
    if (!this.gl) return;
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => { this.build(); this.draw(); });
    this.build();
    this.reset();
    this.listen();
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  /* --- what is drawn ------------------------------------------------------------------------------------------------ */
  build() {
    const gl = this.gl;
    if (gl.isContextLost()) return;  /* built when it is restored */
    this.programs = {};
    for (const [name, sources] of Object.entries(SHADERS)) {
      const program = gl.createProgram();
      sources.forEach((source, i) => {
        const shader = gl.createShader(i ? gl.FRAGMENT_SHADER : gl.VERTEX_SHADER);
        gl.shaderSource(shader, source); gl.compileShader(shader); gl.attachShader(program, shader);
      });
      gl.linkProgram(program);
      if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) throw new Error(gl.getProgramInfoLog(program));
      this.programs[name] = program;
    }
    this.buffers = { points: this.buffer(this.points), colours: this.buffer(this.colours), quad: gl.createBuffer() };
    this.frusta = { data: gl.createBuffer(), count: 0 };
    this.texture = gl.createTexture();
    this.hasPhoto = false;
    this.shapeCameras();
  }

  buffer(values) {
    const gl = this.gl, buffer = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
    return buffer;
  }

  camera(i) {
    const c = this.cameras.subarray(14 * i, 14 * i + 14);
    return { rotation: c.subarray(0, 9), centre: c.subarray(9, 12), x: c[12], y: c[13] };
  }

  /* A point in the frame of a camera (x right, y down, z ahead), in the scene. */
  fromCamera(camera, x, y, z) {
    const r = camera.rotation, c = camera.centre;
    return [0, 1, 2].map((k) => r[k] * x + r[3 + k] * y + r[6 + k] * z + c[k]);
  }

  corners(i, depth) {
    const camera = this.camera(i), x = camera.x * depth, y = camera.y * depth;
    return [[-x, -y], [x, -y], [x, y], [-x, y]].map(([u, v]) => this.fromCamera(camera, u, v, depth));
  }

  depth(i) {
    const camera = this.camera(i);
    return this.baseSize * this.cameraScale / Math.max(camera.x, camera.y, 0.2) * 0.5;
  }

  /* A usual distance from a camera to the nearest other one. */
  usualGap() {
    const n = this.count, step = Math.max(1, Math.floor(n / 200)), gaps = [];
    for (let i = 0; i < n; i += step) {
      let nearest = Infinity;
      for (let j = 0; j < n; j++) {
        if (j === i) continue;
        let d = 0;
        for (let k = 9; k < 12; k++) d += (this.cameras[14 * i + k] - this.cameras[14 * j + k]) ** 2;
        nearest = Math.min(nearest, d);
      }
      gaps.push(Math.sqrt(nearest));
    }
    const middle = gaps.filter(Number.isFinite).sort((a, b) => a - b)[gaps.length >> 1];
    return clamp(0.6 * (middle || 0.2), 0.025, 0.14);
  }

  shapeCameras() {
    const gl = this.gl, lines = [];
    if (!this.frusta || gl.isContextLost()) return;
    for (let i = 0; i < this.count; i++) {
      const apex = this.camera(i).centre, [a, b, c, d] = this.corners(i, this.depth(i)), colour = this.colourOf(i);
      const top = this.fromCamera(this.camera(i), 0, -1.35 * this.camera(i).y * this.depth(i), this.depth(i));
      for (const [p, q] of [[apex, a], [apex, b], [apex, c], [apex, d], [a, b], [b, c], [c, d], [d, a], [a, top], [top, b]]) lines.push([p, q, colour]);
    }
    if (this.chosen >= 0) for (const [other, strength] of this.neighbours) lines.push([this.camera(this.chosen).centre, this.camera(other).centre, [0.36, 0.72, 1, 0.25 + 0.5 * strength]]);
    const data = new Float32Array(lines.length * 6 * 12);
    let at = 0;
    for (const [p, q, colour] of lines) for (const [end, side] of [[0, -1], [0, 1], [1, -1], [1, -1], [0, 1], [1, 1]]) {
      data.set(p, at); data.set(q, at + 3); data[at + 6] = end; data[at + 7] = side; data.set(colour, at + 8);
      at += 12;
    }
    gl.bindBuffer(gl.ARRAY_BUFFER, this.frusta.data);
    gl.bufferData(gl.ARRAY_BUFFER, data, gl.DYNAMIC_DRAW);
    this.frusta.count = lines.length * 6;
  }

  colourOf(i) {
    if (i === this.chosen) return [1, 1, 1, 1];
    if (i === this.hovered) return [1, 0.93, 0.75, 1];
    if (this.marked.has(i)) return [0.35, 0.95, 0.45, 1];
    if (this.chosen < 0) return [1, 0.68, 0.25, 0.95];
    const strength = this.neighbours.get(i);
    return strength === undefined ? [1, 0.68, 0.25, 0.28] : [0.36 + 0.2 * strength, 0.72, 1, 0.55 + 0.45 * strength];
  }

  /* --- where one looks from ----------------------------------------------------------------------------------------- */
  reset() {
    Object.assign(this, { yaw: 0.45, pitch: 0.3, distance: 1, target: [0, 0, 0], through: false });
    this.onThrough?.(false);
    this.matrix();
    const rows = this.axes(), along = (p, k) => rows[3 * k] * p[0] + rows[3 * k + 1] * p[1] + rows[3 * k + 2] * p[2];
    const step = 3 * Math.max(1, Math.floor(this.points.length / 45000));
    let shown = [];
    for (let i = 0; i + 2 < this.points.length; i += step) shown.push([0, 1, 2].map((k) => along(this.points.subarray(i, i + 3), k)));
    for (let k = 0; k < 3; k++) {  /* all cameras, but not the points far out */
      const values = shown.map((p) => p[k]).sort((a, b) => a - b), out = Math.floor(0.02 * values.length);
      shown = shown.filter((p) => p[k] >= values[out] && p[k] <= values[values.length - 1 - out]);
    }
    for (let i = 0; i < this.count; i++) shown.push([0, 1, 2].map((k) => along(this.camera(i).centre, k)));
    const aspect = this.canvas.clientWidth / Math.max(this.canvas.clientHeight, 1), limits = [0.92 * this.tangent * aspect, 0.84 * this.tangent];
    const middle = [0, 1, 2].map((k) => (shown.reduce((low, p) => Math.min(low, p[k]), Infinity) + shown.reduce((high, p) => Math.max(high, p[k]), -Infinity)) / 2);
    let far = 0.2;
    /* The least distance from which the middle can be looked at so that all is in view; then the middle of what is seen. */
    for (let round = 0; round < 8; round++) {
      far = 0.2;
      const sides = [[Infinity, -Infinity], [Infinity, -Infinity]];
      for (const p of shown) for (let k = 0; k < 2; k++) far = Math.max(far, p[2] - middle[2] + Math.abs(p[k] - middle[k]) / limits[k]);
      for (const p of shown) for (let k = 0; k < 2; k++) {
        const seen = (p[k] - middle[k]) / (far - p[2] + middle[2]);
        sides[k] = [Math.min(sides[k][0], seen), Math.max(sides[k][1], seen)];
      }
      for (let k = 0; k < 2; k++) middle[k] += 0.4 * far * (sides[k][0] + sides[k][1]) / 2;
    }
    this.target = [0, 1, 2].map((k) => rows[k] * middle[0] + rows[3 + k] * middle[1] + rows[6 + k] * middle[2]);
    this.distance = clamp(far, 0.2, 90);
    this.draw();
  }

  axes() {
    const cy = Math.cos(this.yaw), sy = Math.sin(this.yaw), cp = Math.cos(this.pitch), sp = Math.sin(this.pitch);
    return [cy, 0, -sy, -sy * sp, cp, -cy * sp, sy * cp, sp, cy * cp];
  }

  matrix() {
    const aspect = this.canvas.clientWidth / Math.max(this.canvas.clientHeight, 1);
    if (this.through && this.chosen >= 0) {
      const camera = this.camera(this.chosen), r = camera.rotation;
      this.tangent = 1.06 * Math.max(camera.y, camera.x / aspect);
      return multiply(perspective(this.tangent, aspect), viewMatrix([r[0], r[1], r[2], -r[3], -r[4], -r[5], -r[6], -r[7], -r[8]], camera.centre));
    }
    const rows = this.axes(), eye = this.target.map((t, k) => t + this.distance * rows[6 + k]);
    this.tangent = Math.tan(FOV / 2) * Math.max(1, 1 / aspect);
    return multiply(perspective(this.tangent, aspect), viewMatrix(rows, eye));
  }

  turn(dx, dy) {
    this.leave();
    this.yaw -= dx; this.pitch = clamp(this.pitch + dy, -1.55, 1.55);
    this.draw();
  }

  /* By shares of the height of the view. */
  move(dx, dy) {
    this.leave();
    const rows = this.axes(), scale = 2 * this.distance * this.tangent;
    for (let k = 0; k < 3; k++) this.target[k] += scale * (-dx * rows[k] + dy * rows[3 + k]);
    this.draw();
  }

  zoom(factor) {
    this.leave();
    this.distance = clamp(this.distance * factor, 0.01, 100);
    this.draw();
  }

  /* From looking through a camera to the free view, without a jump of the place that is looked at. */
  leave() {
    if (!this.through) return;
    this.through = false;
    const camera = this.camera(this.chosen), r = camera.rotation;
    this.yaw = Math.atan2(-r[6], -r[8]); this.pitch = clamp(Math.asin(clamp(-r[7], -1, 1)), -1.55, 1.55);
    this.distance = Math.max(0.3, Math.hypot(...camera.centre));
    this.target = [0, 1, 2].map((k) => camera.centre[k] + r[6 + k] * this.distance);
    this.onThrough?.(false);
  }

  look(through) {
    if (!through) this.leave();
    else if (this.chosen >= 0) this.through = true;
    this.onThrough?.(this.through);
    this.draw();
  }

  /* --- what is chosen ----------------------------------------------------------------------------------------------- */
  choose(i, neighbours, photo) {
    if (i < 0) this.leave();
    this.chosen = i; this.neighbours = neighbours; this.hasPhoto = false;
    if (!this.gl) return;
    this.shapeCameras();
    if (i >= 0 && photo) {
      const image = new Image();
      image.onload = () => {
        if (this.chosen !== i) return;
        const gl = this.gl;
        gl.bindTexture(gl.TEXTURE_2D, this.texture);
        gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB, gl.RGB, gl.UNSIGNED_BYTE, image);
        for (const name of ["WRAP_S", "WRAP_T"]) gl.texParameteri(gl.TEXTURE_2D, gl["TEXTURE_" + name], gl.CLAMP_TO_EDGE);
        gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR);
        this.hasPhoto = true;
        this.draw();
      };
      image.src = photo;
    }
    this.draw();
  }

  /* On the screen in CSS pixels, and how far ahead. */
  place(p, m = this.last) {
    const w = m[3] * p[0] + m[7] * p[1] + m[11] * p[2] + m[15];
    const x = (m[0] * p[0] + m[4] * p[1] + m[8] * p[2] + m[12]) / w, y = (m[1] * p[0] + m[5] * p[1] + m[9] * p[2] + m[13]) / w;
    return [(x + 1) / 2 * this.canvas.clientWidth, (1 - y) / 2 * this.canvas.clientHeight, w];
  }

  cameraAt(x, y, reach) {
    let best = -1, least = reach;
    const near = this.canvas.clientHeight * 2 * this.baseSize * this.cameraScale / this.tangent;
    for (let i = 0; i < this.count; i++) {
      const at = 14 * i, [u, v, w] = this.place([this.cameras[at + 9], this.cameras[at + 10], this.cameras[at + 11]]);
      const far = w > NEAR ? Math.hypot(u - x, v - y) : Infinity;
      if (far < least) { best = i; least = far; }
      if (w > 0 && far > reach + near / w) continue;
      const [s, t, ahead] = this.place(this.fromCamera(this.camera(i), 0, 0, this.depth(i))), other = Math.hypot(s - x, t - y);
      if (ahead > NEAR && other < least) { best = i; least = other; }
    }
    return best;
  }

  pointAt(x, y) {
    const p = this.points, m = this.last, wide = this.canvas.clientWidth / 2, high = this.canvas.clientHeight / 2;
    let best = -1, least = 14;
    for (let i = 0; i < p.length; i += 3) {
      const w = m[3] * p[i] + m[7] * p[i + 1] + m[11] * p[i + 2] + m[15];
      const u = (m[0] * p[i] + m[4] * p[i + 1] + m[8] * p[i + 2] + m[12]) / w, v = (m[1] * p[i] + m[5] * p[i + 1] + m[9] * p[i + 2] + m[13]) / w;
      const far = Math.hypot((u + 1) * wide - x, (1 - v) * high - y) + 2 * w;
      if (w > NEAR && far < least) { best = i; least = far; }
    }
    return best < 0 ? null : [...p.subarray(best, best + 3)];
  }

  /* --- mouse, fingers, keys ----------------------------------------------------------------------------------------- */
  listen() {
    const canvas = this.canvas, down = new Map();
    let moved = 0;
    const spot = (event) => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("pointerdown", (event) => {
      if (!down.size) moved = 0;
      down.set(event.pointerId, spot(event));
      canvas.setPointerCapture(event.pointerId);
      this.onHover(-1);
    });
    canvas.addEventListener("pointermove", (event) => {
      const now = spot(event), before = down.get(event.pointerId);
      if (!before) return this.hover(now);
      const height = canvas.clientHeight, dx = now[0] - before[0], dy = now[1] - before[1];
      moved += Math.abs(dx) + Math.abs(dy);
      if (down.size > 1) {
        const other = [...down].find(([id]) => id !== event.pointerId)[1];
        const wide = (a) => Math.hypot(a[0] - other[0], a[1] - other[1]) || 1;
        this.move(dx / 2 / height, dy / 2 / height);
        this.zoom(wide(before) / wide(now));
      } else if (moved > 4) {
        if (event.shiftKey || event.buttons & 6) this.move(dx / height, dy / height);
        else this.turn(dx * 3.2 / height, dy * 3.2 / height);
      }
      down.set(event.pointerId, now);
    });
    const up = (event) => {
      if (down.delete(event.pointerId) && event.type === "pointerup" && moved <= 4 && !down.size && event.button === 0) {
        this.onPick(this.cameraAt(...spot(event), event.pointerType === "mouse" ? 16 : 28));
      }
    };
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, up);
    canvas.addEventListener("pointerleave", () => this.onHover(-1));
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(clamp(event.deltaY * (event.deltaMode ? 30 : 1), -240, 240) * 0.0016));
    }, { passive: false });
    canvas.addEventListener("dblclick", (event) => {
      const point = this.pointAt(...spot(event));
      if (point) { this.leave(); this.target = point; this.distance *= 0.6; this.draw(); }
    });
    canvas.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const step = event.shiftKey ? (x, y) => this.move(-0.06 * x, 0.06 * y) : (x, y) => this.turn(-0.12 * x, 0.12 * y);
      const keys = {
        ArrowLeft: () => step(-1, 0), ArrowRight: () => step(1, 0), ArrowUp: () => step(0, 1), ArrowDown: () => step(0, -1),
        "+": () => this.zoom(0.85), "=": () => this.zoom(0.85), "-": () => this.zoom(1 / 0.85), 0: () => this.reset(), Home: () => this.reset(),
        n: () => this.onPick((this.chosen + 1) % this.count), p: () => this.onPick((Math.max(this.chosen, 0) + this.count - 1) % this.count),
        Enter: () => this.look(!this.through), Escape: () => this.onPick(-1),
      };
      const act = keys[event.key] || keys[event.key.toLowerCase()];
      if (act) { event.preventDefault(); act(); }
    });
  }

  hover(spot) {
    const found = this.cameraAt(...spot, 14);
    this.canvas.classList.toggle("over", found >= 0);
    if (found !== this.hovered) { this.hovered = found; this.shapeCameras(); this.draw(); }
    if (found < 0) this.onHover(-1);
    else this.onHover(found, ...this.place(this.camera(found).centre));
  }

  /* --- drawing ------------------------------------------------------------------------------------------------------ */
  draw() {
    if (this.gl && !this.waiting) this.waiting = requestAnimationFrame(() => { this.waiting = 0; this.drawNow(); });
  }

  drawNow() {
    const gl = this.gl, canvas = this.canvas, ratio = Math.min(devicePixelRatio || 1, 2);
    const width = Math.round(canvas.clientWidth * ratio), height = Math.round(canvas.clientHeight * ratio);
    if (!width || !height || !this.frusta || gl.isContextLost()) return;
    if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
    const m = this.last = this.matrix();
    gl.viewport(0, 0, width, height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.enable(gl.DEPTH_TEST); gl.disable(gl.BLEND); gl.depthMask(true);
    let program = this.use("points", m);
    this.attribute(program, "p", this.buffers.points, 3, gl.FLOAT, 0, 0);
    this.attribute(program, "c", this.buffers.colours, 3, gl.UNSIGNED_BYTE, 0, 0);
    gl.uniform1f(gl.getUniformLocation(program, "size"), 0.004 * clamp((60000 / (this.points.length / 3)) ** 0.25, 0.6, 2.2) * this.pointScale * height / this.tangent);
    gl.uniform1f(gl.getUniformLocation(program, "least"), 1.5 * ratio * Math.min(1, this.pointScale));
    gl.uniform1f(gl.getUniformLocation(program, "most"), 7 * ratio * Math.max(1, this.pointScale));
    gl.drawArrays(gl.POINTS, 0, this.points.length / 3);
    gl.enable(gl.BLEND); gl.blendFuncSeparate(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA, gl.ONE, gl.ONE_MINUS_SRC_ALPHA); gl.depthMask(false);
    if (this.hasPhoto) this.drawPhoto(m);
    if (!this.through) this.drawLines(m, width, height, ratio);
    gl.depthMask(true);
  }

  drawPhoto(m) {
    const gl = this.gl, [a, b, c, d] = this.corners(this.chosen, this.through ? 0.05 : this.depth(this.chosen));
    const program = this.use("photo", m), data = new Float32Array([...a, 0, 0, ...b, 1, 0, ...d, 0, 1, ...c, 1, 1]);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers.quad);
    gl.bufferData(gl.ARRAY_BUFFER, data, gl.DYNAMIC_DRAW);
    this.attribute(program, "p", this.buffers.quad, 3, gl.FLOAT, 20, 0);
    this.attribute(program, "at", this.buffers.quad, 2, gl.FLOAT, 20, 12);
    gl.uniform1f(gl.getUniformLocation(program, "alpha"), this.through ? 0.65 : 0.95);
    gl.bindTexture(gl.TEXTURE_2D, this.texture);
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
  }

  drawLines(m, width, height, ratio) {
    const gl = this.gl, program = this.use("lines", m), data = this.frusta.data;
    [["p", 3, 0], ["q", 3, 12], ["at", 2, 24], ["c", 4, 32]].forEach(([name, size, offset]) => this.attribute(program, name, data, size, gl.FLOAT, 48, offset));
    gl.uniform2f(gl.getUniformLocation(program, "screen"), width, height);
    gl.uniform1f(gl.getUniformLocation(program, "width"), 1.4 * ratio);
    gl.drawArrays(gl.TRIANGLES, 0, this.frusta.count);
  }

  use(name, m) {
    const gl = this.gl, program = this.programs[name];
    gl.useProgram(program);
    for (let i = 0; i < 4; i++) gl.disableVertexAttribArray(i);
    gl.uniformMatrix4fv(gl.getUniformLocation(program, "m"), false, m);
    return program;
  }

  attribute(program, name, buffer, size, type, stride, offset) {
    const gl = this.gl, at = gl.getAttribLocation(program, name);
    if (at < 0) return;
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.enableVertexAttribArray(at);
    gl.vertexAttribPointer(at, size, type, type === gl.UNSIGNED_BYTE, stride, offset);
  }
}
