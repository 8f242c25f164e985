// The page around the view: photos in, settings, what is said of the result, what is saved.

const SETTINGS = JSON.parse(document.getElementById("data").textContent);
const element = (id) => document.getElementById(id);
const all = (selector) => [...document.querySelectorAll(selector)];
const mine = (name) => element(task === "match" ? name : `${task}-${name}`); // of the task that is shown
const number = (value) => value.toLocaleString("en");
const held = [null, null]; // what the server said of each photo, and the file
let task = "match", answer = null, asking = null, sending = 0, ticking = 0, resent = false;

const view = new View(element("view"), showTip);

function make(tag, text = "", attributes = {}) {
  const made = document.createElement(tag);
  made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

// -- asking the server

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, { method: "POST", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("photoglue web does not answer; is it still running?");
  }
  const content = await response.json().catch(() => ({ error: `The answer of photoglue web cannot be read (${response.status}).` }));
  if (!response.ok) throw Object.assign(new Error(content.error), { status: response.status });
  return content;
}

function say(text) {
  element("status").textContent = text;
}

function complain(text) {
  mine("error").textContent = text;
  mine("error").hidden = !text;
}

function busy(words) {
  clearInterval(ticking);
  mine("busy").hidden = !words;
  if (!words) return;
  const start = performance.now(), shown = mine("busy").querySelector(".words");
  const tick = () => (shown.textContent = `${words} ${((performance.now() - start) / 1000).toFixed(1)} s`);
  tick();
  ticking = setInterval(tick, 100);
  say(words);
}

// -- photos

async function upload(file, to = "photo") {
  if (file.size > SETTINGS.max_bytes) {
    throw new Error(`“${file.name}” has ${(file.size / 1e6).toFixed(1)} MB; at most ${SETTINGS.max_bytes / 1e6} MB are taken here (--max-upload-mb).`);
  }
  const photo = await ask(to, { body: file, headers: { "X-Name": encodeURIComponent(file.name) } });
  return { ...photo, file };
}

async function preview(photo) {
  const picture = async ({ key }) => {
    const image = new Image();
    image.src = `preview/${key}`;
    await image.decode();
    return image;
  };
  const mask = photo.mask ? await picture(photo.mask) : null;
  return { image: await picture(photo), width: photo.width, height: photo.height, mask };
}

async function take(files, sides, masks = []) {
  const turn = ++sending;
  asking?.abort();
  complain("");
  busy(files.length === 1 ? "Reading the photo" : "Reading the photos");
  const results = await Promise.allSettled(files.map(async (file, i) => {
    const photo = file.key ? file : await upload(file);
    if (masks[i]) photo.mask = await upload(masks[i], `mask/${photo.key}`);
    return [photo, await preview(photo)];
  }));
  if (turn !== sending) return;
  busy("");
  results.forEach((result, i) => result.status === "fulfilled" && hold(sides[i], ...result.value));
  const failed = results.filter((result) => result.status === "rejected");
  if (held[0] && held[1] && (!failed.length || !answer)) match();
  if (failed.length) complain(failed.map((result) => result.reason.message).join(" "));
  else if (!held[0] || !held[1]) say("One photo is there; another one is wanted.");
}

function hold(side, photo, image) {
  held[side] = photo;
  forget();
  view.setPhoto(side, image);
  const slot = all("#match .slot")[side], name = slot.querySelector(".name");
  slot.classList.add("held");
  name.textContent = photo.name;
  name.title = photo.name;
  name.append(make("small", `${photo.width} × ${photo.height}`));
  element("empty").hidden = true;
  element("swap").disabled = !(held[0] && held[1]);
  describeMask(side);
}

function takeMask(side, file) { // of a photo that is there; null: none any more
  const { mask, ...photo } = held[side];
  return take([photo], [side], [file]);
}

function describeMask(side) {
  const button = all("[data-mask]")[side], mask = held[side]?.mask;
  button.disabled = !held[side];
  button.textContent = mask ? `× ${mask.name}` : "choose…";
  button.title = mask ? "Take the mask away" : "An image of the photo's size; no points where it is black";
  button.setAttribute("aria-label", mask ? `Take away the mask of photo ${side + 1}, ${mask.name}` : `Choose a mask of photo ${side + 1}`);
}

function sidesFor(count, side = null) {
  if (count > 1) return [0, 1];
  if (side !== null) return [side];
  return [!held[0] ? 0 : 1];
}

function takeFiles(files, side = null) {
  const chosen = [...files].slice(0, 2);
  if (task === "place") return void (chosen.length && placePhoto(chosen[0]));
  if (chosen.length) take(chosen, sidesFor(chosen.length, side));
}

// -- matching

function request() {
  const value = (name) => document.querySelector(`[data-setting="${name}"]`)?.value;
  return {
    photo0: held[0].key, photo1: held[1].key, mask0: held[0].mask?.key ?? null, mask1: held[1].mask?.key ?? null, features: value("features"), max_keypoints: Number(value("max_keypoints")),
    resize: Number(value("resize")), preset: value("preset"), verify: value("verify") || null, refine: value("refine") || null,
    rotation: value("rotation"), zoom: value("zoom"), tiles: value("tiles"),
  };
}

async function match() {
  asking?.abort();
  const turn = (asking = new AbortController());
  complain("");
  busy("Matching");
  try {
    const found = await ask("match", { body: JSON.stringify(request()), signal: turn.signal });
    if (turn !== asking) return;
    resent = false;
    show(found);
  } catch (error) {
    if (error.name === "AbortError" || turn !== asking) return;
    if (error.status === 410 && !resent) {
      resent = true;
      return await sendAgain();
    }
    forget();
    complain(error.message);
  } finally {
    if (turn === asking) busy("");
  }
}

async function sendAgain() { // the server let a photo go
  if (held.some((photo) => !photo.file)) await ask("demo", { body: "" });
  await take(held.map((photo) => photo.file ?? { ...photo, mask: null }), [0, 1], held.map((photo) => photo.mask?.file));
}

async function demo() {
  complain("");
  busy("Reading the photos");
  try {
    const photos = await ask("demo", { body: "" });
    await take(photos, [0, 1]);
  } catch (error) {
    busy("");
    complain(error.message);
  }
}

function forget() {
  answer = null;
  view.setResult(null);
  describe();
}

function show(found) {
  answer = found;
  view.setResult(found);
  const hasInliers = Boolean(found.matches.inliers), prunes = Boolean(view.result.dropped);
  for (const input of all("#which input")) input.disabled = !hasInliers && input.value !== "all";
  if (!hasInliers) choose("which", "all");
  for (const input of all("#mode input")) input.disabled = input.value === "pruning" && !prunes;
  if (!prunes && view.shown.mode === "pruning") choose("mode", "matches");
  describe();
  say(`${summary()}. ${element("verdict").querySelector(".overlap").textContent}`);
}

// -- what is said of the result

function percent(probability) {
  if (probability > 0.999) return "more than 99.9%";
  return probability < 0.001 ? "less than 0.1%" : `${(100 * probability).toFixed(1)}%`;
}

function overlapOf(probability) {
  if (probability === null) return ["", "No verdict for these features", ""];
  const likely = `overlap ${percent(probability)} likely`;
  if (probability >= 0.9) return ["good", "The photos show the same thing", likely];
  if (probability >= 0.5) return ["maybe", "The photos may show the same thing", likely];
  return ["bad", "The photos do not seem to overlap", likely];
}

function advice() { // what most often is wrong, and was not tried
  const tried = answer.matches.remedies?.tried ?? [];
  if (!tried.includes("rotation") && !answer.matches.features.startsWith("sift")) return "If one photo is turned against the other, set “if one is turned” to always, or take SIFT.";
  return "Is there little to be seen in one of them, or is it of something that only looks alike?";
}

function remediesOf({ remedies }) { // what was done beyond one pass, and what was tried in vain
  if (!remedies) return [];
  const rows = [], done = { rotation: remedies.turned_deg !== 0, zoom: Boolean(remedies.boxes), tiles: remedies.tiles > 0 };
  if (done.rotation) rows.push(["turned", `the second photo, by ${remedies.turned_deg}° counterclockwise`]);
  if (done.zoom) rows.push(["zoomed", `into parts of ${remedies.boxes.map(([left, top, right, bottom]) => `${right - left} × ${bottom - top}`).join(" and ")} px`]);
  if (done.tiles) rows.push(["tiles", `${remedies.tiles} pairs of parts`]);
  const words = { rotation: "turning", zoom: "other scales", tiles: "parts" }, vain = remedies.tried.filter((name) => !done[name]).map((name) => words[name]);
  if (vain.length) rows.push(["in vain", vain.join(", ")]);
  return rows;
}

function summary() {
  const { indices, inliers } = answer.matches, count = `${number(indices.length)} ${indices.length === 1 ? "match" : "matches"}`;
  return inliers ? `${count}, ${number(inliers.filter(Boolean).length)} inliers` : count;
}

function facts() {
  const { matches } = answer, { verification, images, scores } = matches, rows = [];
  rows.push(["points", `${number(images[0].keypoints)} and ${number(images[1].keypoints)} (${matches.features})`]);
  if (verification) {
    const count = matches.inliers.filter(Boolean).length, share = scores.length ? ` (${Math.round((100 * count) / scores.length)}%)` : "";
    rows.push(["inliers", `${number(count)}${share}, ${verification.model}, ${Number(verification.threshold_px.toPrecision(3))} px`]);
  }
  if (scores.length) rows.push(["mean confidence", (scores.reduce((sum, score) => sum + score, 0) / scores.length).toFixed(2)]);
  if (matches.exit_layer !== null) rows.push(["exit", `layer ${matches.exit_layer} of ${matches.n_layers}`]);
  if (matches.precision) rows.push(["computed in", matches.precision]);
  if (view.result.dropped) rows.push(["pruned", `${number(view.result.dropped)} points`]);
  rows.push(...remediesOf(matches));
  for (const [i, image] of images.entries()) {
    if (image.keypoints < 50) rows.push([`photo ${i + 1}`, `only ${image.keypoints} points: plain, dark or blurred?`]);
  }
  return rows;
}

function describe() {
  const verdict = element("verdict"), overlap = verdict.querySelector(".overlap"), list = verdict.querySelector("dl");
  const count = verdict.querySelector(".count"), times = verdict.querySelector(".times"), words = verdict.querySelector(".timewords");
  for (const part of [list, times, words]) part.replaceChildren();
  for (const id of ["png", "json"]) element(id).disabled = !answer;
  element("command").hidden = !answer;
  overlap.className = "overlap";
  count.firstElementChild.textContent = answer ? number(answer.matches.indices.length) : "–";
  count.lastElementChild.textContent = answer?.matches.indices.length === 1 ? "match" : "matches";
  overlap.textContent = held[0] && held[1] ? "" : held[0] || held[1] ? "One more photo is wanted." : "Two photos are wanted.";
  if (answer) {
    const [kind, text, detail] = overlapOf(answer.matches.overlap_probability);
    if (kind) overlap.classList.add(kind);
    overlap.textContent = text;
    if (detail) overlap.append(make("small", detail));
    if (kind === "bad" || kind === "maybe") overlap.append(make("small", advice()));
    for (const [name, value] of facts()) list.append(make("dt", name), make("dd", value));
    describeTimes(verdict, answer.seconds);
    describeCommand();
  }
  describeShown();
}

function describeTimes(section, stages) {
  for (const [stage, seconds] of Object.entries(stages)) {
    const bar = make("span"), word = make("span", `${stage} ${seconds >= 1 ? seconds.toFixed(1) + " s" : Math.round(1000 * seconds) + " ms"}`);
    bar.style.flexGrow = 1000 * seconds;
    word.prepend(make("i"));
    section.querySelector(".times").append(bar);
    section.querySelector(".timewords").append(word);
  }
}

function describeCommand() {
  const section = mine("command"), language = section.querySelector("input:checked").value;
  section.querySelector("code").textContent = (task === "match" ? answer : placed.answer)[language];
  if (task === "match") section.querySelector(".note").textContent = held[0].name === held[1].name ? "the photos have the same name: add their folders" : "run it in the folder of the photos";
}

function describeShown() {
  const rows = view.rows().length, least = view.shown.least, mode = view.shown.mode;
  element("least").textContent = least.toFixed(2);
  element("threshold").disabled = mode === "pruning";
  element("threshold").setAttribute("aria-valuetext", `${least.toFixed(2)}, ${rows} matches shown`);
  const words = {
    matches: () => `${number(rows)} of ${number(answer.matches.indices.length)} matches shown`,
    points: () => `${number(rows)} matches shown in colour, other points grey`,
    pruning: () => `white: kept to the end; coloured: dropped after layer 1 (dark) to ${view.result.lastLayer} (bright)`,
  };
  element("shown").textContent = answer ? words[mode]() : "–";
  drawHistogram();
}

function drawHistogram() {
  const canvas = element("histogram"), context = canvas.getContext("2d"), bins = 50, counts = new Array(bins).fill(0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  if (!answer) return;
  for (const score of answer.matches.scores) counts[Math.min(bins - 1, Math.floor(score * bins))]++;
  const most = Math.max(...counts, 1), width = canvas.width / bins;
  counts.forEach((count, i) => {
    const height = count ? Math.max(4, Math.sqrt(count / most) * (canvas.height - 8)) : 0;
    context.fillStyle = mixed(VIRIDIS, i / (bins - 1));
    context.globalAlpha = (i + 0.999) / bins > view.shown.least ? 1 : 0.25;
    context.fillRect(i * width + 1, canvas.height - 8 - height, width - 2, height);
    context.globalAlpha = 1;
    context.fillRect(i * width, canvas.height - 5, width + 1, 5);
  });
}

// -- the point that is pointed at, and its partner

function showTip(point) {
  const tip = element("tip");
  tip.hidden = !point;
  if (!point) return;
  const partner = view.partner(point), { points, scores, inliers, prune } = view.result;
  const loupe = element("loupe"), context = loupe.getContext("2d"), half = loupe.width / 2;
  context.fillStyle = "#222";
  context.fillRect(0, 0, loupe.width, loupe.height);
  const both = partner ? (point.side ? [partner, point] : [point, partner]) : [point];
  both.forEach((each, i) => {
    const photo = view.photos[each.side], scale = photo.image.naturalWidth / photo.width, [x, y] = points[each.side][each.index];
    const side = Math.max(24, 0.05 * Math.max(photo.image.naturalWidth, photo.image.naturalHeight));
    context.save();
    context.beginPath();
    context.rect(i * half + i, 0, half - 1, half);
    context.clip();
    context.drawImage(photo.image, (x + 0.5) * scale - side / 2, (y + 0.5) * scale - side / 2, side, side, i * half, 0, half, half);
    context.restore();
    context.strokeStyle = "#ffffff";
    context.lineWidth = 2;
    context.beginPath();
    context.arc(i * half + half / 2, half / 2, 10, 0, 2 * Math.PI);
    context.stroke();
  });
  const place = ({ side, index }) => points[side][index].map((value) => value.toFixed(1)).join(", ");
  const words = [both.map(place).join(" ↔ ")];
  if (partner) words.push(`confidence ${scores[partner.row].toFixed(3)}${inliers ? (inliers[partner.row] ? ", inlier" : ", outlier") : ""}`);
  else words.push("no partner");
  if (view.shown.mode === "pruning" && prune) words.push(view.result.isKept(point.side, point.index) ? "kept" : `dropped after layer ${prune[point.side][point.index]}`);
  tip.querySelector("p").textContent = words.join(" · ");
  if (document.activeElement === view.canvas) say(words.join(", "));
  const { clientWidth, clientHeight } = view.canvas, { offsetWidth, offsetHeight } = tip;
  const x = point.x + 20 + offsetWidth > clientWidth ? point.x - 20 - offsetWidth : point.x + 20;
  const y = Math.max(4, Math.min(point.y - offsetHeight / 2, clientHeight - offsetHeight - 4));
  tip.style.transform = `translate(${Math.max(4, Math.min(x, clientWidth - offsetWidth - 4))}px, ${y}px)`;
}

// -- saving

function saveText(content) {
  save(new Blob([JSON.stringify(content) + "\n"], { type: "application/json" }), ".json");
}

function save(blob, ending) {
  const photos = task === "match" ? held : [placed.photo], link = make("a");
  link.href = URL.createObjectURL(blob);
  link.download = photos.map((photo) => photo.name.replace(/\.[^.]*$/, "")).join("-") + ending;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function savePicture() {
  const caption = [summary(), answer.matches.exit_layer === null ? "" : `exit at layer ${answer.matches.exit_layer} of ${answer.matches.n_layers}`,
    view.shown.mode === "matches" && view.rows().length < answer.matches.indices.length ? `${number(view.rows().length)} drawn` : "",
    held.map((photo) => photo.name).join(" – ")];
  view.picture(caption.filter(Boolean).join(" · ")).toBlob((blob) => save(blob, ".png"), "image/png");
}

async function copy() {
  const code = mine("command").querySelector("code"), text = code.textContent, button = mine("command").querySelector("button");
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(code);
    button.textContent = "Selected: press Ctrl-C";
  }
  setTimeout(() => (button.textContent = "Copy"), 2000);
}

// -- controls

function choose(name, value) {
  document.querySelector(`[name=${name}][value=${value}]`).checked = true;
  view.show({ [name]: value });
}

function addSettings() {
  const words = {
    "": "nothing", subpixel: "to sub-pixels", aliked: "ALIKED", disk: "DISK", sift: "SIFT",
    "aliked-n16rot": "ALIKED n16rot", "aliked-n32": "ALIKED n32", superpoint: "SuperPoint", doghardnet: "DoG-HardNet",
  };
  const rows = [
    ["features", "features", SETTINGS.features, "aliked"], ["max_keypoints", "points", SETTINGS.max_keypoints, 2048],
    ["resize", "longer side, pixels", SETTINGS.resize, 1024], ["preset", "preset", SETTINGS.preset, "default"],
    ["verify", "verify by", [...SETTINGS.verify, ""], SETTINGS.verify[0] ?? ""], ["refine", "refine", ["", ...SETTINGS.refine], ""],
    ["rotation", "if one is turned", SETTINGS.rotation, "auto"], ["zoom", "if scales differ", SETTINGS.zoom, "auto"], ["tiles", "part by part", SETTINGS.tiles, "auto"],
  ];
  for (const [name, title, values, first] of rows) {
    const label = make("label", title), select = make("select", "", { "data-setting": name });
    for (const value of values) select.append(make("option", words[value] ?? String(value), { value }));
    select.value = first;
    select.addEventListener("change", () => {
      if (name === "preset") imply(select.value);
      if (held[0] && held[1]) match();
    });
    label.append(select);
    document.querySelector("#settings .grid").append(label);
  }
  for (const side of [0, 1]) {
    const field = make("div", `mask of photo ${side + 1}`);
    field.append(make("button", "", { type: "button", "data-mask": side }));
    document.querySelector("#settings .grid").append(field);
    describeMask(side);
  }
}

function imply(preset) { // what a preset says of extraction; and what is usual, where one said so before
  const usual = { max_keypoints: 2048, resize: 1024, refine: "" }, implied = SETTINGS.implied[preset] ?? {};
  for (const name of Object.keys(usual)) {
    const select = document.querySelector(`[data-setting="${name}"]`), before = Object.values(SETTINGS.implied).map((each) => String(each[name]));
    if (implied[name] !== undefined) select.value = implied[name];
    else if (before.includes(select.value)) select.value = usual[name];
  }
}

function listen() {
  const file = element("file");
  let side = null, asMask = false;
  const pick = (into, mask = false) => {
    [side, asMask] = [into, mask];
    file.value = "";
    file.click();
  };
  file.addEventListener("change", () => {
    if (asMask) takeMask(side, file.files[0]);
    else takeFiles(file.files, side);
    asMask = false;
  });
  all("[data-mask]").forEach((button, i) => button.addEventListener("click", () => (held[i].mask ? takeMask(i, null) : pick(i, true))));
  element("pick").addEventListener("click", () => pick(null));
  all("#place .choose").forEach((button) => button.addEventListener("click", () => pick(null)));
  element("demo").addEventListener("click", demo);
  all("#match .slot .choose").forEach((button, i) => button.addEventListener("click", () => pick(i)));
  element("swap").addEventListener("click", () => take([held[1], held[0]], [0, 1]));

  let depth = 0;
  const dragged = (by) => {
    depth = by ? Math.max(0, depth + by) : 0;
    all(".view").forEach((each) => each.classList.toggle("dragged", depth > 0));
  };
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragenter", (event) => hasFiles(event) && dragged(1));
  addEventListener("dragleave", (event) => hasFiles(event) && dragged(-1));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    dragged(0);
    if (!event.dataTransfer.files.length) complain("That is no file. Drop the photo itself, not its name or address.");
    takeFiles(event.dataTransfer.files, held[0] && held[1] ? sideUnder(event) : null);
  });
  addEventListener("paste", (event) => {
    if (!event.clipboardData.files.length) return;
    event.preventDefault();
    takeFiles(event.clipboardData.files);
  });

  for (const name of ["mode", "which"]) all(`[name=${name}]`).forEach((input) => input.addEventListener("change", () => (choose(name, input.value), describeShown())));
  element("threshold").addEventListener("input", (event) => (view.show({ least: Number(event.target.value) }), describeShown()));
  for (const name of ["lines", "dim"]) element(name).addEventListener("change", (event) => view.show({ [name]: event.target.checked }));
  all(".command input").forEach((input) => input.addEventListener("change", describeCommand));
  element("in").addEventListener("click", () => view.zoom(1.4));
  element("out").addEventListener("click", () => view.zoom(1 / 1.4));
  element("fit").addEventListener("click", () => view.fit());
  element("png").addEventListener("click", savePicture);
  element("json").addEventListener("click", () => saveText(answer.matches));
  all(".command button").forEach((button) => button.addEventListener("click", copy));
  view.canvas.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() !== "i" || event.ctrlKey || event.metaKey || !answer?.matches.inliers) return;
    const order = ["all", "inliers", "outliers"];
    choose("which", order[(order.indexOf(view.shown.which) + 1) % 3]);
    describeShown();
    say(element("shown").textContent);
  });
}

function sideUnder(event) { // the photo that a file was dropped on
  const box = view.canvas.getBoundingClientRect(), [left, top] = view.places[1];
  const [x, y] = [event.clientX - box.left, event.clientY - box.top];
  const beside = Math.abs(view.places[0][1] - top) < Math.abs(view.places[0][0] - left);
  return Number(beside ? x > view.x + view.scale * left : y > view.y + view.scale * top);
}

addSettings();
listen();
describe();
globalThis.photoglue = { view, held };
