// Plays all clips of a container in step and draws the difference between two of them.
//
// The longest clip leads and plays freely. The others are kept in sync with it: by playback rate if they are slightly
// off, by seeking if they are far off. A moment is a time in seconds of the leader.

const GENTLE = 0.008 // offset in seconds below which a clip is not corrected
const FAR = 0.12 // offset in seconds above which a clip seeks instead of changing its rate
const SETTLED = 0.002 // tolerated offset of a paused clip in seconds
const BEFORE_END = 0.001 // seconds before its end at which a clip holds its last frame
const LOOK = 250 // interval in milliseconds of checks for added or removed clips
const PATIENCE = 1500 // timeout in milliseconds for clips to reach a moment
const FRAME = 1 / 10 // frame duration in seconds until it is known

export default function (component) {
  const root = component.parentElement
  root.player = root.player ?? new Player(root)
  root.player.take(component.data ?? {}, component.setStateValue)
  return () => {
    root.player?.leave()
    root.player = null
  }
}

class Player {
  constructor(root) {
    this.box = root.querySelector(".player")
    this.data = { scope: "", clips: [], align: "time", difference: false }
    this.clips = []
    this.playing = !matchMedia("(prefers-reduced-motion: reduce)").matches
    this.running = false // true while the clips play; false while they seek to a moment
    this.moment = 0
    this.turn = 0
    this.looked = -Infinity
    this.map = new DifferenceMap(this.part(".map"))
    this.listeners = new AbortController()
    this.listen()
    this.tick = this.tick.bind(this)
    this.request = requestAnimationFrame(this.tick)
  }

  take(data, tell) {
    this.data = { ...this.data, ...data }
    this.tell = tell
    this.align = this.data.align
    this.showChoices()
    this.map.name(this.data.clips.map((clip) => clip.label))
    this.looked = -Infinity
  }

  leave() {
    cancelAnimationFrame(this.request)
    this.listeners.abort()
    this.clips.forEach((clip) => clip.release())
  }

  part(selector) {
    return this.box.querySelector(selector)
  }

  // User actions

  listen() {
    const signal = this.listeners.signal
    const on = (selector, what, act) => this.part(selector).addEventListener(what, act, { signal })
    on(".play", "click", () => this.toggle())
    on(".back", "click", () => this.step(-1))
    on(".on", "click", () => this.step(1))
    on(".seek", "input", (event) => this.goTo(event.target.value * this.length))
    on(".seek", "change", () => this.playing && this.begin(this.moment))
    on(".loop", "click", () => this.press(".loop"))
    on(".difference", "click", () => this.openMap(this.press(".difference")))
    for (const button of this.box.querySelectorAll("[data-align]")) {
      button.addEventListener("click", () => this.alignBy(button.dataset.align), { signal })
    }
    this.box.addEventListener("keydown", (event) => this.key(event), { signal })
    // Without this, a clip restarts by itself when it ends.
    const stay = (event) => this.clips.some((clip) => clip.video === event.target) && event.stopImmediatePropagation()
    document.addEventListener("ended", stay, { signal, capture: true })
    document.addEventListener("fullscreenchange", () => this.clips.forEach((clip) => clip.dress()), { signal })
  }

  key(event) {
    const target = event.target
    if (event.altKey || event.ctrlKey || event.metaKey) return
    if (target.matches?.("select, .gain")) return
    const steps = { ArrowLeft: -1, ArrowRight: 1 }
    if (event.key in steps) this.step(steps[event.key])
    else if (event.key === " " && !target.matches?.("button")) this.toggle()
    else if (event.key === "Enter" && target.matches?.("video")) target.requestFullscreen()
    else return
    event.preventDefault()
    event.stopPropagation()
  }

  press(selector) {
    const button = this.part(selector)
    const pressed = button.getAttribute("aria-pressed") !== "true"
    button.setAttribute("aria-pressed", pressed)
    return pressed
  }

  openMap(open) {
    this.map.show(open)
    remember(this.data.scope, open)
  }

  alignBy(align) {
    if (align === this.align) return
    const share = this.length ? this.moment / this.length : 0
    this.align = align
    this.showChoices()
    this.tell?.("align", align)
    this.playing ? this.begin(share * this.length) : this.goTo(share * this.length)
  }

  toggle() {
    this.playing ? this.pause() : this.play()
  }

  play() {
    this.playing = true
    this.begin(this.moment >= this.length - this.frame ? 0 : this.moment)
  }

  // Pauses in the middle of a frame, so that rounding cannot lead into the next one.
  pause() {
    this.playing = false
    this.goTo((this.index(this.moment) + 0.5) * this.frame)
  }

  step(count) {
    this.playing = false
    const frames = this.frames
    const wanted = this.index(this.moment) + count
    this.goTo((((wanted % frames) + frames) % frames + 0.5) * this.frame)
  }

  // Clip positions

  get ready() {
    return this.clips.filter((clip) => clip.length > 0)
  }

  get leader() {
    return this.ready.reduce((best, clip) => (best && best.length >= clip.length ? best : clip), null)
  }

  get length() {
    return this.leader?.length ?? 0
  }

  // Number of steps: by time, at the shortest frame duration; stretched, the frames of the clip that has the most.
  get frames() {
    if (this.align === "time") return Math.max(1, Math.round(this.length / this.frame))
    return Math.max(1, ...this.ready.map((clip) => Math.round(clip.length / clip.frame)))
  }

  get frame() {
    if (this.align === "stretch") return this.length / this.frames
    return Math.min(...this.ready.map((clip) => clip.frame))
  }

  index(moment) {
    const index = Math.floor(moment / this.frame + 1e-6)
    return Math.min(Math.max(Number.isFinite(index) ? index : 0, 0), this.frames - 1)
  }

  // Target time of a clip at a moment.
  place(clip, moment) {
    const there = this.align === "stretch" ? (moment / this.length) * clip.length : moment
    return Math.min(Math.max(there, 0), clip.length - BEFORE_END)
  }

  speed(clip) {
    return this.align === "stretch" ? Math.max(clip.length / this.length, 0.0625) : 1
  }

  // Seeks all clips to a moment and pauses there.
  goTo(moment) {
    this.turn += 1
    this.running = false
    this.moment = Math.min(Math.max(moment || 0, 0), Math.max(this.length - BEFORE_END, 0))
    for (const clip of this.ready) {
      clip.rest()
      clip.aim = this.place(clip, this.moment)
      clip.settle()
    }
    this.map.dirty()
  }

  // Seeks all clips to a moment, waits until they are there and plays them together.
  async begin(moment) {
    this.goTo(moment)
    const turn = this.turn
    const deadline = performance.now() + PATIENCE
    while (this.ready.some((clip) => !clip.settled) && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 5))
      if (turn !== this.turn) return
    }
    this.running = true
    for (const clip of this.ready) {
      clip.video.playbackRate = this.speed(clip)
      if (clip.aim < clip.length - BEFORE_END) clip.play(() => this.refused())
    }
  }

  refused() {
    if (this.playing) this.pause()
  }

  // Animation loop

  tick(now) {
    this.request = requestAnimationFrame(this.tick)
    if (now - this.looked > LOOK) {
      this.looked = now
      this.look()
    }
    const leader = this.leader
    if (!leader) return this.showMoment()
    if (this.running) this.steer(leader, now)
    else this.ready.forEach((clip) => clip.settle())
    this.showMoment()
    this.map.draw(this.clips, now, this.running)
  }

  look() {
    const found = [...document.querySelectorAll(`.st-key-${this.data.scope} video`)]
    const before = this.leader
    const gone = this.clips.filter((clip) => !found.includes(clip.video))
    gone.forEach((clip) => clip.release())
    const known = new Map(this.clips.map((clip) => [clip.video, clip]))
    this.clips = found.map((video) => known.get(video) ?? new Clip(video, this))
    this.clips.forEach((clip, index) => clip.about(this.data.clips[index]))
    const fresh = this.ready.filter((clip) => !clip.joined)
    fresh.forEach((clip) => (clip.joined = true))
    if (!fresh.length && this.leader === before) return
    this.playing ? this.begin(this.moment) : this.goTo(this.moment)
  }

  steer(leader, now) {
    const video = leader.video
    this.moment = video.currentTime
    if (video.ended || this.moment >= leader.length - BEFORE_END) return this.end()
    if (video.paused && !video.seeking) leader.play(() => this.refused())
    for (const clip of this.ready) {
      if (clip !== leader) clip.follow(this.place(clip, this.moment), this.speed(clip), now)
    }
  }

  end() {
    if (this.part(".loop").getAttribute("aria-pressed") === "true") this.begin(0)
    else {
      this.playing = false
      this.goTo((this.frames - 0.5) * this.frame)
    }
  }

  // Display

  showChoices() {
    for (const button of this.box.querySelectorAll("[data-align]")) {
      button.setAttribute("aria-checked", button.dataset.align === this.align)
    }
    const button = this.part(".difference")
    button.hidden = !this.data.difference
    const open = this.data.difference && remembered(this.data.scope)
    button.setAttribute("aria-pressed", open)
    this.map.show(open)
  }

  showMoment() {
    const seek = this.part(".seek")
    const share = this.length ? this.moment / this.length : 0
    if (Math.abs(seek.value - share) > 0.0005) seek.value = share
    this.box.classList.toggle("playing", this.playing)
    const play = this.part(".play")
    const name = this.playing ? "Pause" : "Play"
    if (play.getAttribute("aria-label") !== name) play.setAttribute("aria-label", name)
    const text = this.length
      ? `frame ${this.index(this.moment) + 1} of ${this.frames} · ${this.moment.toFixed(2)} of ${this.length.toFixed(2)} s`
      : "no clips yet"
    const readout = this.part(".readout")
    if (readout.textContent !== text) readout.textContent = text
  }
}

// One video of the page. `aim` is its last target time in its own seconds.
class Clip {
  constructor(video, player) {
    this.video = video
    this.player = player
    this.aim = 0
    this.frame = FRAME
    this.jumped = -Infinity
    this.listeners = new AbortController()
    const signal = this.listeners.signal
    video.loop = false
    video.preload = "auto"
    video.tabIndex = 0
    video.title = "Click: play or pause all. Double-click: full screen."
    video.addEventListener("click", () => this.isWhole || player.toggle(), { signal })
    video.addEventListener("dblclick", () => this.isWhole || video.requestFullscreen(), { signal })
    video.addEventListener("keydown", (event) => this.isWhole || player.key(event), { signal })
    video.addEventListener("pause", () => this.wasPaused(), { signal })
    video.addEventListener("play", () => this.isWhole && !player.playing && player.play(), { signal })
    video.addEventListener("seeking", () => this.wasMoved(), { signal })
    video.addEventListener("seeked", () => player.map.dirty(), { signal })
    this.dress()
  }

  about(known) {
    if (known?.fps) this.frame = 1 / known.fps
    else if (!this.watched) this.watch()
  }

  // Measures the frame duration during playback.
  watch() {
    this.watched = true
    let last = -1
    const seen = (_, { mediaTime }) => {
      const passed = mediaTime - last
      if (last >= 0 && passed > 1e-4) this.frame = this.found ? Math.min(this.frame, passed) : passed
      this.found ||= last >= 0 && passed > 1e-4
      last = mediaTime
      if (!this.listeners.signal.aborted) this.video.requestVideoFrameCallback(seen)
    }
    this.video.requestVideoFrameCallback?.(seen)
  }

  release() {
    this.listeners.abort()
    this.video.controls = true
    this.video.removeAttribute("title")
  }

  // Native controls are shown only in full screen, where they act on all clips; on the page they would cover the clip.
  dress() {
    this.video.controls = this.isWhole
  }

  get isWhole() {
    return document.fullscreenElement === this.video
  }

  // Zero until a frame is loaded: seeking before that may never finish in some browsers.
  get length() {
    this.loaded ||= this.video.readyState >= 2
    return this.loaded && Number.isFinite(this.video.duration) ? this.video.duration : 0
  }

  get settled() {
    const video = this.video
    return !video.seeking && video.readyState >= 2 && Math.abs(video.currentTime - this.aim) <= SETTLED
  }

  // Seeks to the target time unless a seek is in progress.
  settle() {
    if (this.video.seeking || Math.abs(this.video.currentTime - this.aim) <= SETTLED) return
    this.video.currentTime = this.aim
  }

  rest() {
    if (this.video.paused) return
    this.resting = true
    this.video.pause()
  }

  play(refused) {
    // AbortError only means that the clip was paused before it started.
    this.video.play().catch((error) => error.name === "NotAllowedError" && refused?.())
  }

  follow(place, speed, now) {
    const video = this.video
    if (place >= this.length - BEFORE_END) {
      this.rest()
      this.aim = place
      if (Math.abs(video.currentTime - place) > 5 * SETTLED) this.settle()
      return
    }
    if (video.ended || video.seeking) return
    if (video.paused) this.play()
    const off = video.currentTime - place
    if (Math.abs(off) > FAR && now - this.jumped > PATIENCE / 4) {
      this.jumped = now
      this.aim = place + 0.02 // the leader keeps playing during the seek
      video.currentTime = this.aim
    }
    const hurry = Math.abs(off) > GENTLE ? Math.min(Math.max(-4 * off, -0.5), 0.5) : 0
    const rate = Math.max(speed * (1 + hurry), 0.0625)
    if (Math.abs(video.playbackRate - rate) > 0.01) video.playbackRate = rate
  }

  wasPaused() {
    const ours = this.resting || this.video.ended || !this.isWhole
    this.resting = false
    if (!ours && this.player.playing && this.player.running) this.player.pause()
  }

  wasMoved() {
    if (!this.isWhole || Math.abs(this.video.currentTime - this.aim) < 0.05) return
    const player = this.player
    const moment =
      player.align === "stretch" ? (this.video.currentTime / this.length) * player.length : this.video.currentTime
    player.playing ? player.begin(moment) : player.goTo(moment)
  }
}

// Absolute difference of two clips, multiplied by the gain.
class DifferenceMap {
  constructor(box) {
    this.box = box
    this.canvas = box.querySelector("canvas")
    this.context = this.canvas.getContext("2d", { willReadFrequently: true })
    this.selects = [box.querySelector(".first"), box.querySelector(".second")]
    this.gain = box.querySelector(".gain")
    this.drawn = this.read = -Infinity
    this.wanted = 0
    this.selects.forEach((select) => select.addEventListener("change", () => this.dirty()))
    this.gain.addEventListener("input", () => this.brighten())
    this.brighten()
  }

  name(labels) {
    const options = labels.map((label, index) => `${index + 1}: ${label}`)
    this.selects.forEach((select, which) => {
      const texts = [...select.options].map((option) => option.textContent)
      if (texts.join("\n") === options.join("\n")) return
      const chosen = select.options.length === options.length ? select.selectedIndex : which
      select.replaceChildren(...options.map((text) => new Option(text)))
      select.selectedIndex = Math.min(chosen, options.length - 1)
    })
    this.dirty()
  }

  show(open) {
    this.box.hidden = !open
    this.dirty()
  }

  // The browser paints a frame slightly after it reports it, so several redraws are needed.
  dirty() {
    this.wanted = 6
  }

  brighten() {
    this.canvas.style.filter = `brightness(${this.gain.value})`
    this.box.querySelector(".times").textContent = `${this.gain.value} x`
  }

  draw(clips, now, running) {
    if (this.box.hidden || now - this.drawn < 30) return
    if (running) this.dirty()
    if (this.wanted <= 0) return
    this.wanted -= 1
    this.drawn = now
    const pair = this.selects.map((select) => clips[select.selectedIndex])
    if (pair.some((clip) => !clip || clip.video.readyState < 2)) return this.clear()
    const [first, second] = pair.map((clip) => clip.video)
    const { canvas, context } = this
    if (canvas.width !== first.videoWidth || canvas.height !== first.videoHeight) {
      canvas.width = first.videoWidth
      canvas.height = first.videoHeight
    }
    context.globalCompositeOperation = "copy"
    context.drawImage(first, 0, 0, canvas.width, canvas.height)
    context.globalCompositeOperation = "difference"
    context.drawImage(second, 0, 0, canvas.width, canvas.height)
    if (!running || now - this.read > 250) this.tellMean(now)
  }

  tellMean(now) {
    this.read = now
    const { data } = this.context.getImageData(0, 0, this.canvas.width, this.canvas.height)
    let sum = 0
    for (let index = 0; index < data.length; index += 4) sum += data[index] + data[index + 1] + data[index + 2]
    this.box.querySelector(".mean").textContent = `mean difference ${((sum * 4) / (3 * data.length)).toFixed(1)} of 255`
  }

  clear() {
    this.context.clearRect(0, 0, this.canvas.width, this.canvas.height)
    this.box.querySelector(".mean").textContent = "both clips are needed"
  }
}

function remember(scope, open) {
  sessionStorage.setItem(`difference ${scope}`, open ? "open" : "")
}

function remembered(scope) {
  return sessionStorage.getItem(`difference ${scope}`) === "open"
}
