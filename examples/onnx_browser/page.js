// Two photos in, lines out: an extractor and a matcher that `photoglue export bundle --out models` wrote, run by
// onnxruntime-web on the GPU (?backend=webgpu) or on the processor. Nothing is fetched but this folder's own files.

const RUNTIME = "./node_modules/onnxruntime-web/dist/";
const element = (id) => document.getElementById(id);
const say = (text) => { element("status").textContent = text; };
const backend = new URLSearchParams(location.search).get("backend") ?? "wasm";
const photos = [null, null]; // of each: bitmap, name, features
let found = null; // two photos and their matches
let turn = 0, queue = Promise.resolve();

// From blue through green to yellow: told apart by people who cannot tell red from green.
const colour = (score) => `hsl(${250 - 195 * score} 90% ${45 + 12 * score}%)`;

async function load() {
  const manifest = await (await fetched("models/manifest.json")).json();
  const ort = await import(`${RUNTIME}ort.${backend === "webgpu" ? "webgpu" : "wasm"}.bundle.min.mjs`);
  ort.env.wasm.proxy = backend === "wasm"; // in a worker, so that the page goes on answering
  const open = async (name) => {
    const bytes = new Uint8Array(await (await fetched(`models/${name}`)).arrayBuffer());
    return ort.InferenceSession.create(bytes, { executionProviders: [backend] });
  };
  const { features, licence, inputs, outputs } = manifest.files["extractor.onnx"];
  element("model").textContent = `Features: ${features} (${licence}); computed by: ${backend}.`;
  const channels = Number(inputs[0].shape[1]), width = Number(outputs.at(-1).shape[2]); // of a photo; of a descriptor
  return { ort, channels, width, extractor: await open("extractor.onnx"), matcher: await open("matcher.onnx") };
}

async function fetched(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path} is not here: run photoglue export bundle --out models in this folder`);
  return answer;
}

// The photo as the network wants it: RGB or gray, in [0, 1], planes one after the other.
function pixels(bitmap, side, channels) {
  const shrink = Math.min(1, side / Math.max(bitmap.width, bitmap.height));
  const multiple = channels === 1 ? 8 : 1; // SuperPoint
  const [width, height] = [bitmap.width, bitmap.height].map((length) => Math.max(1, Math.round(length * shrink)));
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0, width, height);
  const [w, h] = [width, height].map((length) => Math.max(multiple, length - (length % multiple)));
  const { data } = context.getImageData(0, 0, w, h);
  const values = new Float32Array(channels * w * h);
  for (let i = 0; i < w * h; i++) {
    const [r, g, b] = [data[4 * i], data[4 * i + 1], data[4 * i + 2]].map((shade) => shade / 255);
    if (channels === 1) values[i] = 0.299 * r + 0.587 * g + 0.114 * b;
    else [values[i], values[w * h + i], values[2 * w * h + i]] = [r, g, b];
  }
  return { values, shape: [1, channels, h, w], size: [width, height] };
}

async function extract(photo, side) {
  const { ort, extractor, channels } = models;
  const { values, shape, size } = pixels(photo.bitmap, side, channels);
  const { keypoints, scores, descriptors } = await extractor.run({ image: new ort.Tensor("float32", values, shape) });
  const count = scores.data.filter((score) => score > 0).length; // the best come first
  const [points, described] = [keypoints, descriptors].map(({ data, dims }) => data.slice(0, count * dims[2]));
  return { count, points, described, size };
}

async function match(features0, features1) {
  const { ort, matcher, width } = models;
  const inputs = {};
  [features0, features1].forEach(({ count, points, described, size }, i) => {
    // Copies: the worker takes the memory of what it is given.
    inputs[`kpts${i}`] = new ort.Tensor("float32", points.slice(), [1, count, 2]);
    inputs[`desc${i}`] = new ort.Tensor("float32", described.slice(), [1, count, width]);
    inputs[`image_size${i}`] = new ort.Tensor("float32", Float32Array.from(size), [1, 2]);
    inputs[`mask${i}`] = new ort.Tensor("bool", new Uint8Array(count).fill(1), [1, count]);
  });
  const { matches0, mscores0 } = await matcher.run(inputs);
  const pairs = [];
  matches0.data.forEach((partner, point) => {
    if (partner >= 0n) pairs.push({ point, partner: Number(partner), score: mscores0.data[point] });
  });
  return pairs.sort((a, b) => a.score - b.score); // the surest are drawn last, on top
}

// Runs follow each other, since the networks compute one thing at a time; of those that wait, only the last one runs.
function run() {
  const mine = ++turn;
  queue = queue.then(() => mine === turn && once()).catch((error) => say(`This did not work: ${error.message}`));
}

async function once() {
  found = null;
  element("picture").hidden = true;
  models = await models;
  if (photos.includes(null)) return say(`Choose ${photos[0] || photos[1] ? "the other photo" : "two photos"}.`);
  const pair = [...photos], side = Number(element("side").value), start = performance.now();
  for (const [i, photo] of pair.entries()) {
    say(`Looking for points in photo ${i + 1} …`);
    if (photo.features?.side !== side) photo.features = { side, ...(await extract(photo, side)) };
  }
  const extracted = performance.now();
  say("Matching …");
  const matches = await match(...pair.map(({ features }) => features));
  const milliseconds = [extracted - start, performance.now() - extracted];
  found = { pair, matches, seconds: milliseconds.map((each) => (each / 1000).toFixed(1)) };
  draw();
}

function draw() {
  const threshold = Number(element("threshold").value);
  element("shown").textContent = threshold.toFixed(2);
  if (!found) return;
  const canvas = element("picture");
  const height = 700, gap = 8;
  const widths = found.pair.map(({ bitmap }) => (height / bitmap.height) * bitmap.width);
  [canvas.width, canvas.height] = [widths[0] + gap + widths[1], height];
  canvas.hidden = false;
  const context = canvas.getContext("2d");
  found.pair.forEach(({ bitmap }, i) => context.drawImage(bitmap, i * (widths[0] + gap), 0, widths[i], height));
  const place = (i, row) => { // a point of the small photo, the centre of whose first pixel is (0, 0), on the canvas
    const { points, size } = found.pair[i].features;
    const at = (axis, length) => ((points[2 * row + axis] + 0.5) / size[axis]) * length;
    return [i * (widths[0] + gap) + at(0, widths[i]), at(1, height)];
  };
  const shown = found.matches.filter(({ score }) => score >= threshold);
  context.lineWidth = 1.5;
  for (const { point, partner, score } of shown) {
    context.strokeStyle = colour(score);
    context.beginPath();
    context.moveTo(...place(0, point));
    context.lineTo(...place(1, partner));
    context.stroke();
  }
  const counts = found.pair.map(({ features }) => features.count).join(" and ");
  const text = `${shown.length} of ${found.matches.length} matches shown, of ${counts} points`;
  say(`${text}. Points: ${found.seconds[0]} s, matching: ${found.seconds[1]} s.`);
  canvas.setAttribute("aria-label", `${found.pair[0].name} and ${found.pair[1].name}: ${text}`);
}

async function take(i, file) {
  if (!file) return;
  try {
    photos[i] = { bitmap: await createImageBitmap(file), name: file.name, features: null };
  } catch {
    return say(`${file.name} is no photo that this browser can read.`);
  }
  run();
}

for (const i of [0, 1]) {
  const input = element(`photo${i}`), label = input.parentElement;
  input.addEventListener("change", () => take(i, input.files[0]));
  label.addEventListener("dragover", (event) => { event.preventDefault(); label.classList.add("over"); });
  label.addEventListener("dragleave", () => label.classList.remove("over"));
  label.addEventListener("drop", (event) => {
    event.preventDefault();
    label.classList.remove("over");
    input.files = event.dataTransfer.files; // shows the name
    take(i, event.dataTransfer.files[0]);
  });
}
element("side").addEventListener("change", run);
element("threshold").addEventListener("input", draw);
element("scale").style.background = `linear-gradient(90deg, ${[0, 0.25, 0.5, 0.75, 1].map(colour).join(", ")})`;
let models = load(); // a promise, then what it gave
run();
