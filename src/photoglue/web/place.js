// Where a photo was taken: the map's points and cameras to turn, and the photo among them.

const placed = { viewer: null, map: null, photo: null, answer: null };

const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const floats = (text) => new Float32Array(bytes(text).buffer);

async function openMap() {
  if (placed.map) return;
  placed.map = await ask("map", { method: "GET" });
  const scene = { points: floats(placed.map.points), colours: bytes(placed.map.colours), cameras: floats(placed.map.cameras) };
  placed.known = scene.cameras;
  placed.viewer = new Viewer(element("model"), scene, pickCamera, (camera, x, y) => {
    const label = element("camera");
    label.hidden = camera < 0;
    if (camera < 0) return;
    label.textContent = nameOf(camera);
    label.style.transform = `translate(-50%, -190%) translate(${x}px, ${y}px)`;
  });
  placed.viewer.onThrough = (on) => element("through").setAttribute("aria-pressed", String(on));
  if (!placed.viewer.gl) document.querySelector("#place .help").textContent = "This browser has no WebGL, which the view of the map needs.";
}

const seen = () => placed.answer.record.localised ? placed.answer.record.nearest.filter((near) => near.inliers) : [];
const nameOf = (camera) => placed.map.names[camera] ?? placed.photo?.name ?? "";
const isPhoto = (camera) => camera === placed.map.names.length;

function pickCamera(camera) {
  const viewer = placed.viewer, near = new Map(), most = (placed.answer && seen()[0]?.inliers) || 1;
  if (camera >= 0 && isPhoto(camera)) for (const each of seen()) near.set(placed.map.names.indexOf(each.name), Math.sqrt(each.inliers / most));
  viewer.choose(camera, near, camera < 0 ? "" : isPhoto(camera) ? `preview/${placed.photo.key}` : `mapphoto/${camera}`);
  element("through").disabled = camera < 0 || !viewer.gl;
  all("#seen button").forEach((button) => button.setAttribute("aria-pressed", String(Number(button.dataset.camera) === camera)));
  if (camera >= 0) say(nameOf(camera));
}

async function placePhoto(file) {
  asking?.abort();
  const turn = (asking = new AbortController());
  complain("");
  busy("Looking for the place");
  try {
    const photo = await upload(file);
    if (turn !== asking) return;
    placed.photo = photo;
    const slot = document.querySelector("#place .slot");
    slot.classList.add("held");
    slot.querySelector(".name").textContent = photo.name;
    slot.querySelector(".name").append(make("small", `${photo.width} × ${photo.height}`));
    document.querySelector("#place .empty").hidden = true;
    const found = await ask("place", { body: JSON.stringify({ photo: photo.key }), signal: turn.signal });
    if (turn === asking) showPlace(found);
  } catch (error) {
    if (error.name !== "AbortError" && turn === asking) complain(error.message);
  } finally {
    if (turn === asking) busy("");
  }
}

function showPlace(found) {
  placed.answer = found;
  const viewer = placed.viewer, own = found.camera ?? [];
  viewer.cameras = new Float32Array([...placed.known, ...own]);
  viewer.count = viewer.cameras.length / 14;
  viewer.chosen = viewer.hovered = -1;
  if (viewer.gl) viewer.reset();
  pickCamera(found.record.localised ? placed.map.names.length : -1);
  describePlace();
  say(`${element("placed").querySelector(".overlap").textContent}. ${found.record.inliers} points agree.`);
}

function describePlace() {
  const { record: found, centre, focal_px } = placed.answer, section = element("placed"), list = section.querySelector("dl"), overlap = section.querySelector(".overlap");
  for (const part of [".times", ".timewords", "dl"]) section.querySelector(part).replaceChildren();
  section.querySelector("b").textContent = number(found.inliers);
  overlap.className = `overlap ${found.localised ? "good" : "bad"}`;
  overlap.textContent = found.localised ? "The photo was taken here" : "The photo was not placed";
  if (found.reason) overlap.append(make("small", found.reason));
  const digits = (value) => Number(value.toPrecision(3)).toString(), rows = [["matches", number(found.matches)]];
  if (centre) rows.push(["position", centre.map((value) => value.toFixed(3)).join(", ")]);
  if (found.localised && Number.isFinite(found.uncertainty?.position)) {
    rows.push(["uncertain by", `${digits(found.uncertainty.position)} (unit of the map), ${digits(found.uncertainty.rotation_deg)}°`]);
  }
  if (focal_px) rows.push(["focal length", `${Math.round(focal_px)} px, ${{ map: "as in the map", EXIF: "from EXIF", given: "given" }[found.focal_source] ?? found.focal_source}`]);
  if (found.turned_deg) rows.push(["turned", `by ${found.turned_deg}° to be recognised`]);
  for (const note of found.notes) rows.push(["note", note]);
  for (const [name, value] of rows) list.append(make("dt", name), make("dd", value));
  describeTimes(section, found.seconds);
  element("pose").disabled = false;
  element("place-command").hidden = false;
  describeCommand();
  element("seen").hidden = !seen().length;
  element("seen").querySelector("ul").replaceChildren(...seen().slice(0, 8).map((each) => {
    const camera = placed.map.names.indexOf(each.name), item = make("li");
    const button = make("button", "", { type: "button", "data-camera": camera, "aria-pressed": String(placed.viewer.chosen === camera) });
    button.append(make("img", "", { src: `mapphoto/${camera}`, alt: "", loading: "lazy" }), make("span", `${number(each.inliers)} points · ${each.name}`));
    button.addEventListener("click", () => pickCamera(camera));
    item.append(button);
    return item;
  }));
}

all("[name=task]").forEach((input) => input.addEventListener("change", async () => {
  asking?.abort();
  busy("");
  task = input.value;
  for (const name of ["match", "place"]) element(name).hidden = name !== task;
  try {
    if (task === "place") await openMap();
  } catch (error) {
    complain(error.message);
  }
}));
element("reset").addEventListener("click", () => placed.viewer?.reset());
element("through").addEventListener("click", () => placed.viewer.look(!placed.viewer.through));
element("pose").addEventListener("click", () => saveText(placed.answer.record));
globalThis.photoglue.placed = placed;
