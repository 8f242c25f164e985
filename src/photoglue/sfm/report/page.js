/* The page around the viewer: panel, table, matrix. Text is always set as text, never as markup. */
(() => {
  const find = (id) => document.getElementById(id);
  const data = JSON.parse(find("data").textContent);
  const bytes = (text) => { const s = atob(text), b = new Uint8Array(s.length); for (let i = 0; i < s.length; i++) b[i] = s.charCodeAt(i); return b; };
  const floats = (text) => new Float32Array(bytes(text).buffer), whole = (text) => new Uint32Array(bytes(text).buffer);
  const photoOf = (i) => data.photos[i] ? "data:image/jpeg;base64," + data.photos[i] : "";
  const make = (tag, text = "", className = "") => { const e = document.createElement(tag); e.textContent = text; e.className = className; return e; };
  const picture = (i) => { const e = make("img"); e.loading = "lazy"; e.decoding = "async"; e.alt = ""; e.src = photoOf(i); return e; };
  const number = (n) => n.toLocaleString("en");
  const cameraOf = new Map(data.placed.map((photo, camera) => [photo, camera]));

  /* Pairs, and for each photo its partners. */
  const pairs = { i: whole(data.pairs.i), j: whole(data.pairs.j), n: whole(data.pairs.n), k: bytes(data.pairs.k) };
  const partners = data.names.map(() => []);
  pairs.i.forEach((i, row) => { partners[i].push([pairs.j[row], row]); partners[pairs.j[row]].push([i, row]); });
  partners.forEach((list) => list.sort((a, b) => pairs.n[b[1]] - pairs.n[a[1]]));
  const kindOf = (row) => data.words === "inliers" && data.kinds[pairs.k[row]] || "";

  /* --- the viewer --- */
  const tip = find("tip"), canvas = find("view");
  const scene = { points: floats(data.points), colours: bytes(data.colours), cameras: floats(data.cameras), marked: new Set(data.marked.map((photo) => cameraOf.get(photo))) };
  const viewer = new Viewer(canvas, scene, (camera) => choose(camera < 0 ? -1 : data.placed[camera]), (camera, x, y) => {
    tip.hidden = camera < 0;
    if (camera < 0) return;
    tip.textContent = data.names[data.placed[camera]];
    tip.style.left = x + "px"; tip.style.top = y + "px";
  });
  viewer.onThrough = (on) => { find("through").ariaPressed = String(on); };
  find("reset").onclick = () => viewer.reset();
  find("through").onclick = () => viewer.look(!viewer.through);
  find("pointsize").oninput = (event) => { viewer.pointScale = 2 ** event.target.value; viewer.draw(); };
  find("camerasize").oninput = (event) => { viewer.cameraScale = 2 ** event.target.value; if (viewer.gl) viewer.shapeCameras(); viewer.draw(); };
  if (!viewer.gl) {
    document.querySelector(".help").textContent = "This browser has no WebGL, which the view of the model needs. All else on this page works.";
    document.querySelector(".tools").hidden = true;
  }

  /* --- the panel --- */
  let chosen = -1;
  const panel = find("panel"), body = document.querySelector("#table tbody"), rowOf = [];
  for (const row of body.rows) rowOf[row.dataset.photo] = row;

  function choose(i) {
    if (rowOf[chosen]) rowOf[chosen].classList.remove("chosen");
    chosen = i;
    const most = i < 0 || !partners[i].length ? 1 : pairs.n[partners[i][0][1]] || 1, near = new Map();
    if (i >= 0) for (const [other, row] of partners[i]) if (cameraOf.has(other)) near.set(cameraOf.get(other), Math.sqrt(pairs.n[row] / most));
    const camera = i < 0 ? -1 : cameraOf.get(i) ?? -1;
    viewer.choose(camera, near, i < 0 ? "" : photoOf(i));
    find("through").disabled = camera < 0 || !viewer.gl;
    show(i);
    if (rowOf[i]) rowOf[i].classList.add("chosen");
  }

  function show(i) {
    panel.replaceChildren();
    if (i < 0) {
      panel.append(make("h3", "Cameras"), make("p", "Click a camera to see its photo and the photos that it is matched with. Brighter blue lines stand for more " + data.words + "." + (data.marked.length ? " Green cameras are of photos that were placed in the model later." : "")));
      if (viewer.count) {
        const row = make("div", "", "row"), first = make("button", "Show the first photo");
        first.onclick = () => choose(data.placed[0]);
        row.append(first); panel.append(row);
      }
      return;
    }
    const row = make("div", "", "row");
    for (const [text, step] of [["← Previous", -1], ["Next →", 1]]) {
      const button = make("button", text);
      button.onclick = () => choose((i + step + data.names.length) % data.names.length);
      row.append(button);
    }
    panel.append(row);
    if (data.photos[i]) { const big = picture(i); big.className = "big"; big.loading = "eager"; big.alt = data.names[i]; panel.append(big); }
    const cells = rowOf[i].cells, value = (k) => cells[k].textContent.trim();
    panel.append(make("h3", data.names[i]));
    panel.append(make("p", cameraOf.has(i) ? `${value(1)} points, seen by ${value(2)} photos on average, error ${value(4) || "–"} px` : value(5)));
    if (!partners[i].length) return panel.append(make("h4", "No partners"));
    panel.append(make("h4", `${number(partners[i].length)} partner${partners[i].length > 1 ? "s" : ""}, by ${data.words}`));
    const list = make("ul");
    for (const [other, pair] of partners[i].slice(0, 40)) {
      const item = make("li"), button = make("button"), text = make("span", " " + data.names[other]);
      text.prepend(make("b", number(pairs.n[pair])), kindOf(pair) ? " " + kindOf(pair) : "");
      if (data.photos[other]) button.append(picture(other));
      button.append(text);
      button.onclick = () => choose(other);
      item.append(button); list.append(item);
    }
    panel.append(list);
    panel.scrollTop = 0;
  }

  /* --- the table --- */
  const heads = [...document.querySelectorAll("#table thead th")];
  const key = (row, column) => { const cell = row.cells[column]; return column % 5 === 0 ? cell.textContent.trim() : cell.dataset.value === undefined ? NaN : Number(cell.dataset.value); };
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === (column % 5 === 0 || column === 4 ? "ascending" : "none") || (head.getAttribute("aria-sort") === null && column % 5 !== 0 && column !== 4);
    const sign = down ? -1 : 1, text = column % 5 === 0;
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = [...body.rows].map((row) => [key(row, column), row]);
    const empty = (k) => text ? k === "" : Number.isNaN(k);  /* these come last either way */
    rows.sort(([a, r], [b, s]) => empty(a) || empty(b) ? empty(a) - empty(b) || r.dataset.photo - s.dataset.photo
      : sign * (text ? a.localeCompare(b, "en", { numeric: true }) : a - b) || r.dataset.photo - s.dataset.photo);
    body.append(...rows.map(([, row]) => row));
  }));
  for (const row of body.rows) {
    const button = row.querySelector(".name"), i = Number(row.dataset.photo), text = make("span");
    text.append(...button.childNodes);
    button.append(...(data.photos[i] ? [picture(i)] : []), text);
    button.onclick = () => { choose(i); find("model").scrollIntoView({ behavior: "smooth", block: "nearest" }); };
  }
  const filter = () => {
    const words = find("find").value.toLowerCase(), only = find("only")?.checked;
    let shown = 0;
    for (const row of body.rows) {
      row.hidden = (only && !row.classList.contains("out")) || !data.names[row.dataset.photo].toLowerCase().includes(words);
      shown += !row.hidden;
    }
    find("count").textContent = shown < body.rows.length ? `${number(shown)} of ${number(body.rows.length)}` : "";
  };
  find("find").addEventListener("input", filter);
  find("only")?.addEventListener("change", filter);

  /* --- the matrix: a cell is a pair, or the best pair of a block of photos if there are very many --- */
  const matrix = find("matrix"), count = data.names.length, block = Math.ceil(count / 1200), cells = Math.ceil(count / block);
  const RAMPS = [[[200, 226, 244], [6, 73, 130]], [[255, 223, 186], [184, 76, 0]], [[205, 236, 220], [0, 105, 68]], [[232, 214, 240], [106, 44, 130]]];
  const DARK = [[[20, 50, 78], [120, 200, 255]], [[80, 42, 8], [255, 176, 92]], [[10, 62, 44], [110, 230, 170]], [[62, 32, 76], [226, 166, 250]]];
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const best = new Map();
  let strongest = 1;
  pairs.n.forEach((n, row) => {
    strongest = Math.max(strongest, n);
    const a = Math.floor(pairs.i[row] / block), b = Math.floor(pairs.j[row] / block);
    for (const cell of [a * cells + b, b * cells + a]) if (!best.has(cell) || pairs.n[best.get(cell)] < n) best.set(cell, row);
  });
  const ramp = (kind) => (dark.matches ? DARK : RAMPS)[kind % 4];
  const shade = (row) => Math.log1p(pairs.n[row]) / Math.log1p(strongest);
  function paint() {
    matrix.width = matrix.height = cells;
    const context = matrix.getContext("2d"), image = context.createImageData(cells, cells);
    for (const [cell, row] of best) {
      const [low, high] = ramp(pairs.k[row]), t = shade(row) ** 2;
      for (let c = 0; c < 3; c++) image.data[4 * cell + c] = low[c] + (high[c] - low[c]) * t;
      image.data[4 * cell + 3] = 255;
    }
    for (let i = 0; i < cells; i++) if (block === 1) image.data.set(dark.matches ? [70, 78, 88, 255] : [196, 203, 210, 255], 4 * (i * cells + i));
    context.putImageData(image, 0, 0);
    const kinds = find("kinds");
    kinds.replaceChildren();
    data.kinds.slice(0, 8).forEach((kind, k) => {
      const row = make("div"), bar = make("i"), [low, high] = ramp(k);
      bar.style.background = `linear-gradient(to right, rgb(${low}), rgb(${high}))`;
      row.append(bar, data.words === "inliers" ? kind : `1 to ${number(strongest)} points`); kinds.append(row);
    });
    if (data.words === "inliers") kinds.append(make("div", `darkest or brightest: ${number(strongest)} inliers`));
  }
  dark.addEventListener("change", paint);
  const cellAt = (event) => {
    const box = matrix.getBoundingClientRect(), at = (x) => Math.min(Math.max(Math.floor(x * cells), 0), cells - 1);
    return [at((event.clientY - box.top) / box.height), at((event.clientX - box.left) / box.width)];
  };
  const tell = (event) => {
    const [a, b] = cellAt(event), row = best.get(a * cells + b), out = find("pair");
    out.replaceChildren();
    if (row !== undefined) {
      out.append(make("b", `${number(pairs.n[row])} ${data.words}`), kindOf(row) ? ", " + kindOf(row) : "", make("br"));
      const [first, second] = Math.floor(pairs.i[row] / block) === a ? [pairs.i[row], pairs.j[row]] : [pairs.j[row], pairs.i[row]];
      out.append(`${data.names[first]} – ${data.names[second]}`, block > 1 ? ` (the best of ${block} × ${block} photos)` : "");
    } else out.append(a === b ? data.names[a * block] : `no pair: ${data.names[a * block]} – ${data.names[b * block]}`);
    return row;
  };
  matrix.addEventListener("pointermove", tell);
  matrix.addEventListener("click", (event) => {
    const row = tell(event), [a] = cellAt(event);
    if (row === undefined) return;
    choose(Math.floor(pairs.i[row] / block) === a ? pairs.i[row] : pairs.j[row]);
    find("model").scrollIntoView({ behavior: "smooth", block: "nearest" });
  });

  paint();
  show(-1);
  globalThis.photoglue = { viewer, choose };
})();
