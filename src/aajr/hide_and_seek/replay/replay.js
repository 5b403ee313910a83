// Episode replay: two panels on one clock. No framework, no network.
"use strict";
(() => {
  const TAU = 2 * Math.PI;
  const still = window.matchMedia("(prefers-reduced-motion: reduce)");
  const lerp = (a, b, t) => a + (b - a) * t;

  class Panel {
    constructor(root, game, colours) {
      this.root = root;
      this.game = game;
      this.colours = colours;
      this.canvas = root.querySelector("canvas");
      this.words = root.querySelector(".state");
      this.strip = root.querySelector(".stills");
    }

    fit() {
      const pixels = Math.round(this.canvas.clientWidth * (window.devicePixelRatio || 1));
      if (pixels > 0 && this.canvas.width !== pixels) this.canvas.width = this.canvas.height = pixels;
    }

    show(episode, time, hider) {
      this.fit();
      this.episode = episode;
      draw(this.canvas, this.game, this.colours, episode, time, hider);
      this.words.textContent = describe(this.game, episode, Math.floor(time + 1e-6), hider);
    }

    // Four frames as images: what is printed, where nothing can move.
    printable(episode, hider) {
      const last = episode.agents.length - 1;
      this.strip.replaceChildren(...[0, 1 / 3, 2 / 3, 1].map((share) => {
        const step = Math.round(share * last);
        const sheet = document.createElement("canvas");
        sheet.width = sheet.height = 440;
        draw(sheet, this.game, this.colours, episode, step, hider);
        const picture = document.createElement("img");
        picture.src = sheet.toDataURL();
        picture.alt = `step ${step}: ${describe(this.game, episode, step, hider)}`;
        const figure = document.createElement("figure");
        const caption = document.createElement("figcaption");
        caption.textContent = `step ${step}`;
        figure.append(picture, caption);
        return figure;
      }));
    }
  }

  // Everything between two frames: positions move evenly, all else is that of the first.
  function moment(episode, time) {
    const index = Math.min(Math.floor(time + 1e-6), episode.agents.length - 1);
    const next = Math.min(index + 1, episode.agents.length - 1);
    const share = still.matches ? 0 : Math.max(0, time - index);
    const between = (name) => episode[name][index].map((point, item) =>
      point.map((value, axis) => lerp(value, episode[name][next][item][axis], share)));
    return { index, agents: between("agents"), boxes: between("boxes") };
  }

  function draw(canvas, game, colours, episode, time, hider) {
    const pen = canvas.getContext("2d");
    const half = canvas.width / 2;
    const scale = half * 0.94;
    const now = moment(episode, time);
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.fillStyle = "#ffffff";
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.setTransform(scale, 0, 0, -scale, half, half);
    const pixel = Math.max(1, canvas.width / 420) / scale;
    pen.lineWidth = 1.5 * pixel;
    pen.strokeStyle = "#444444";
    pen.strokeRect(-1, -1, 2, 2);
    drawView(pen, game, colours, now, hider, pixel);
    drawBoxes(pen, colours, episode, now, pixel);
    drawSights(pen, game, colours, episode, now, pixel);
    drawAgents(pen, game, colours, episode, now, hider, pixel);
    if (attacked(episode, now.index)) drawShown(pen, game, colours, episode, now, hider, pixel);
    drawRadio(pen, game, colours, episode, now, hider, pixel);
  }

  function drawView(pen, game, colours, now, hider, pixel) {
    pen.fillStyle = "#444444";
    for (const [x, y, w, h] of game.walls) pen.fillRect(x - w, y - h, 2 * w, 2 * h);
    pen.save();
    pen.beginPath();
    pen.rect(-1, -1, 2, 2);
    pen.clip();
    pen.setLineDash([5 * pixel, 5 * pixel]);
    pen.strokeStyle = "#999999";
    pen.lineWidth = pixel;
    circle(pen, ...now.agents[hider], game.radius);
    pen.stroke();
    pen.restore();
  }

  function drawBoxes(pen, colours, episode, now, pixel) {
    episode.box_half.forEach(([w, h], item) => {
      if (w === 0) return;
      const [x, y] = now.boxes[item];
      const lock = episode.lock[now.index][item];
      pen.fillStyle = "#d9d9d9";
      pen.fillRect(x - w, y - h, 2 * w, 2 * h);
      pen.strokeStyle = [colours.box, colours.hider, colours.seeker][lock];
      pen.lineWidth = (lock ? 3.5 : 1.2) * pixel;
      pen.strokeRect(x - w, y - h, 2 * w, 2 * h);
      if (lock) {
        pen.beginPath();
        pen.moveTo(x - w, y - h); pen.lineTo(x + w, y + h);
        if (lock === 2) { pen.moveTo(x - w, y + h); pen.lineTo(x + w, y - h); }
        pen.lineWidth = pixel;
        pen.stroke();
      }
      const holder = episode.holder[now.index][item];
      if (holder >= 0) line(pen, now.agents[holder], [x, y], "#444444", 1.5 * pixel, []);
    });
  }

  function drawSights(pen, game, colours, episode, now, pixel) {
    for (const [seeker, hider] of episode.sights[now.index])
      line(pen, now.agents[game.hiders + seeker], now.agents[hider], colours.seeker, 1.3 * pixel, []);
  }

  function drawAgents(pen, game, colours, episode, now, hider, pixel) {
    const size = game.size * 1.25;
    const seen = new Set(episode.sights[now.index].map((pair) => pair[1]));
    now.agents.forEach(([x, y], agent) => {
      const hides = agent < game.hiders;
      const [dx, dy] = episode.heading[now.index][agent];
      pen.fillStyle = hides ? colours.hider : colours.seeker;
      mark(pen, x, y, size, hides);
      pen.fill();
      pen.lineWidth = (hides && seen.has(agent) ? 2.5 : 1) * pixel;
      pen.strokeStyle = hides && seen.has(agent) ? colours.seeker : "#ffffff";
      pen.stroke();
      line(pen, [x, y], [x + 1.9 * size * dx, y + 1.9 * size * dy], "#222222", 1.6 * pixel, []);
      if (hides && agent === hider) {
        pen.strokeStyle = "#000000";
        pen.lineWidth = 1.8 * pixel;
        circle(pen, x, y, 1.9 * size);
        pen.stroke();
      }
      label(pen, String((hides ? agent : agent - game.hiders) + 1), x, y, 1.25 * size);
    });
  }

  // Ghosts: where the selected hider is told the others are; thin lines lead to the truth.
  function drawShown(pen, game, colours, episode, now, hider, pixel) {
    const here = now.agents[hider];
    for (const told of perceived(game, episode, now.index, hider)) {
      const ghost = [here[0] + told.shown[0], here[1] + told.shown[1]];
      pen.globalAlpha = Math.max(0.25, Math.min(1, told.belief));
      const colour = told.team === "teammates" ? colours.hider : colours.seeker;
      if (told.real) line(pen, ghost, [here[0] + told.truth[0], here[1] + told.truth[1]], colour, pixel, []);
      pen.strokeStyle = colour;
      pen.lineWidth = 1.6 * pixel;
      pen.setLineDash([3 * pixel, 2.5 * pixel]);
      mark(pen, ...ghost, game.size * 1.25, told.team === "teammates");
      pen.stroke();
      pen.setLineDash([]);
      pen.globalAlpha = 1;
    }
  }

  // What the sources report to the hider, faintly; lies in a colour of their own, each with a line to
  // the report as it was made. A cross marks where the hider believes the nearest seeker to be.
  function drawRadio(pen, game, colours, episode, now, hider, pixel) {
    const [x, y] = now.agents[hider];
    for (const report of reports(game, episode, now.index, hider)) {
      const colour = report.lie ? colours.lie : colours.seeker;
      const place = [x + report.shown[0], y + report.shown[1]];
      pen.globalAlpha = report.lie ? 0.75 : 0.4;
      if (report.lie) line(pen, place, [x + report.truth[0], y + report.truth[1]], colour, pixel, [2 * pixel, 3 * pixel]);
      pen.fillStyle = colour;
      circle(pen, ...place, 0.6 * game.size);
      pen.fill();
      pen.globalAlpha = 1;
    }
    const belief = believed(episode, now.index, hider);
    if (!belief) return;
    const [bx, by] = [x + belief[0], y + belief[1]], reach = 1.2 * game.size;
    line(pen, [bx - reach, by - reach], [bx + reach, by + reach], "#000000", 2 * pixel, []);
    line(pen, [bx - reach, by + reach], [bx + reach, by - reach], "#000000", 2 * pixel, []);
  }

  const believed = (episode, index, hider) => episode.believed?.[index]?.[hider];

  // Reports as the hider is shown them; at the last frame nobody listens.
  function reports(game, episode, index, hider) {
    if (!game.layout.reports || index >= episode.action.length) return [];
    const [start, stop] = game.layout.reports;
    const width = (stop - start) / game.sources;
    const truth = episode.observation[index][hider];
    const shown = (episode.shown[index] || episode.observation[index])[hider];
    const found = [];
    for (let at = start; at < stop; at += 2) {
      const source = Math.floor((at - start) / width);
      const [told, made] = [shown, truth].map((view) => view.slice(at, at + 2));
      found.push({ source, shown: told, truth: made, lie: told.some((value, axis) => value !== made[axis]) });
    }
    return found;
  }

  // How far the belief is from the seeker that is nearest to the hider.
  function error(game, episode, index, hider) {
    const [x, y] = episode.agents[index][hider];
    const belief = believed(episode, index, hider);
    const away = episode.agents[index].slice(game.hiders).map(([sx, sy]) => [sx - x, sy - y]);
    const nearest = away.reduce((one, other) => (Math.hypot(...other) < Math.hypot(...one) ? other : one));
    return Math.hypot(belief[0] - nearest[0], belief[1] - nearest[1]);
  }

  // What the hider is told of others; an opponent counts if it is seen, or said to be seen.
  function perceived(game, episode, index, hider) {
    const truth = episode.observation[index][hider];
    const shown = (episode.shown[index] || episode.observation[index])[hider];
    const found = [];
    for (const [team, width] of [["teammates", 2], ["opponents", 3]]) {
      const [start, stop] = game.layout[team];
      for (let at = start; at < stop; at += width) {
        const real = width === 2 || truth[at + 2] > 0.5;
        const belief = width === 2 ? 1 : shown[at + 2];
        if (real || belief > 0.05)
          found.push({ team, real, belief, truth: truth.slice(at, at + 2), shown: shown.slice(at, at + 2) });
      }
    }
    return found;
  }

  const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

  // At the last frame nobody acts, so nobody is shown anything.
  const attacked = (episode, step) => step < episode.action.length && episode.shown.length > 0;

  function describe(game, episode, step, hider) {
    const told = perceived(game, episode, step, hider);
    const seen = told.filter((item) => item.team === "opponents" && item.real).length;
    const watched = new Set(episode.sights[step].map((pair) => pair[1]));
    const phase = step < game.preparation ? "preparation" : "chase";
    const parts = [`${phase}; ${game.hiders - watched.size} of ${game.hiders} hidden`];
    parts.push(`hider ${hider + 1} sees ${count(seen, "seeker")}`);
    if (attacked(episode, step)) {
      const off = told.filter((item) => item.real).map((item) =>
        Math.hypot(item.shown[0] - item.truth[0], item.shown[1] - item.truth[1]));
      if (off.length) parts.push(`others shown up to ${Math.max(...off).toFixed(2)} away from the truth`);
      const ghosts = told.filter((item) => !item.real).length;
      if (ghosts) parts.push(`${count(ghosts, "unseen seeker")} hinted at`);
    }
    const liars = new Set(reports(game, episode, step, hider).filter((one) => one.lie).map((one) => one.source));
    if (liars.size) parts.push(`${liars.size} of its ${game.sources} sources lie`);
    if (believed(episode, step, hider))
      parts.push(`it acts as if the nearest seeker were ${error(game, episode, step, hider).toFixed(2)} from where it is`);
    if (step < episode.action.length) {
      const changed = episode.action[step].filter((heads, item) =>
        heads.some((value, head) => value !== episode.intended[step][item][head])).length;
      if (episode.attack !== "none") parts.push(`actions changed: ${changed} of ${game.hiders} hiders`);
    } else parts.push(episode.success ? "hiders win" : "seekers win");
    return parts.join("; ") + ".";
  }

  function circle(pen, x, y, radius) {
    pen.beginPath();
    pen.arc(x, y, radius, 0, TAU);
  }

  // Hiders are discs, seekers squares on a corner: shape tells them apart without colour.
  function mark(pen, x, y, size, round) {
    if (round) { circle(pen, x, y, size); return; }
    const reach = 1.3 * size;
    pen.beginPath();
    pen.moveTo(x, y + reach); pen.lineTo(x + reach, y);
    pen.lineTo(x, y - reach); pen.lineTo(x - reach, y);
    pen.closePath();
  }

  function line(pen, from, to, colour, width, dash) {
    pen.setLineDash(dash);
    pen.strokeStyle = colour;
    pen.lineWidth = width;
    pen.beginPath();
    pen.moveTo(...from); pen.lineTo(...to);
    pen.stroke();
    pen.setLineDash([]);
  }

  function label(pen, text, x, y, size) {
    pen.save();
    pen.translate(x, y);
    pen.scale(size / 12, -size / 12);
    pen.font = "bold 13px system-ui, sans-serif";
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    pen.fillStyle = "#ffffff";
    pen.fillText(text, 0, 0.5);
    pen.restore();
  }

  class Player {
    constructor(section) {
      const data = JSON.parse(section.querySelector("script").textContent);
      this.game = data.game;
      this.episodes = data.episodes;
      this.section = section;
      this.last = Math.max(...this.episodes.map((episode) => episode.agents.length)) - 1;
      this.time = 0; this.hider = 0; this.playing = false;
      this.methods = [...new Set(this.episodes.map((episode) => episode.method))].slice(0, 2);
      this.views = [...new Set(this.episodes.map((episode) => episode.attack))];
      this.view = this.views[this.views.length - 1];
      const colours = JSON.parse(section.dataset.colours);
      this.panels = [...section.querySelectorAll(".panel")].map((root) => new Panel(root, this.game, colours));
      this.listen();
      this.refresh();
    }

    part(name) { return this.section.querySelector(`[data-part="${name}"]`); }

    listen() {
      this.part("play").addEventListener("click", () => this.toggle());
      this.part("back").addEventListener("click", () => this.step(-1));
      this.part("forward").addEventListener("click", () => this.step(1));
      this.part("scrub").addEventListener("input", (event) => this.seek(Number(event.target.value)));
      this.part("hider").addEventListener("change", (event) => this.choose(Number(event.target.value)));
      this.part("view").addEventListener("change", (event) => this.look(event.target.value));
      this.section.addEventListener("keydown", (event) => this.key(event));
      window.addEventListener("resize", () => this.show());
      this.part("scrub").max = this.last;
    }

    key(event) {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const tag = event.target.tagName;
      const own = tag === "SELECT" || (tag === "BUTTON" && event.key === " ");
      const number = Number(event.key);
      const acts = {
        " ": () => this.toggle(), ArrowLeft: () => this.step(-1), ArrowRight: () => this.step(1),
        Home: () => this.seek(0), End: () => this.seek(this.last),
        "+": () => this.faster(1), "=": () => this.faster(1), "-": () => this.faster(-1),
        s: () => this.look(this.views[(this.views.indexOf(this.view) + 1) % this.views.length]),
      };
      if (own) return;
      if (number >= 1 && number <= this.game.hiders) this.choose(number - 1);
      else if (acts[event.key]) acts[event.key]();
      else return;
      event.preventDefault();
    }

    faster(by) {
      const speed = this.part("speed");
      speed.selectedIndex = Math.max(0, Math.min(speed.options.length - 1, speed.selectedIndex + by));
    }

    toggle() {
      this.playing = !this.playing;
      if (this.playing && this.time >= this.last) this.time = 0;
      this.part("play").textContent = this.playing ? "Pause" : "Play";
      if (!this.playing) return;
      this.before = performance.now();
      requestAnimationFrame((at) => this.tick(at));
    }

    tick(at) {
      if (!this.playing) return;
      const speed = Number(this.part("speed").value);
      this.time = Math.min(this.last, this.time + Math.max(0, at - this.before) * speed / 1000);
      this.before = at;
      this.show();
      if (this.time >= this.last) this.toggle();
      else requestAnimationFrame((next) => this.tick(next));
    }

    step(by) {
      if (this.playing) this.toggle();
      this.seek(Math.round(this.time) + by);
    }

    seek(time) { this.time = Math.max(0, Math.min(this.last, time)); this.show(); }
    choose(hider) { this.hider = hider; this.part("hider").value = hider; this.refresh(); }
    look(view) { this.view = view; this.part("view").value = view; this.refresh(); }

    episode(method) {
      return this.episodes.find((item) => item.method === method && item.attack === this.view);
    }

    refresh() {
      this.part("view").value = this.view;
      this.panels.forEach((panel, index) => panel.printable(this.episode(this.methods[index]), this.hider));
      this.show();
    }

    show() {
      this.panels.forEach((panel, index) => panel.show(this.episode(this.methods[index]), this.time, this.hider));
      const step = Math.floor(this.time + 1e-6);
      this.part("scrub").value = step;
      this.part("scrub").setAttribute("aria-valuetext", `step ${step} of ${this.last}`);
      this.part("clock").textContent = `step ${step} / ${this.last}`;
    }
  }

  for (const section of document.querySelectorAll("section.replay")) new Player(section);
})();
