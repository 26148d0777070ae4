// The labs, where you stand in them, and the platform, in one element that renews itself.
// Used by the page `labs/` and by JupyterLab's left panel. No library, nothing from elsewhere.

const EVERY = 3000; // between two looks, in milliseconds
const SIGNS = { done: '✓', begun: '◐', failing: '!', open: '○' };
const PLATFORM = { ready: '✓', starting: '◐', trouble: '!', none: '○' };

// Make an element: h('a', {class: 'x', href: 'y'}, 'text', child, …). Text is never markup.
function h(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(key, value === true ? '' : value);
    }
  }
  element.append(...children.filter(child => child !== null && child !== undefined));
  return element;
}

const sign = (text, kind) =>
  h('span', { class: `labs-sign labs-${kind}`, 'aria-hidden': 'true' }, text);

const kindOf = lab =>
  lab.done ? 'done' : lab.failing.length ? 'failing' : lab.passed ? 'begun' : 'open';

function labRow(lab, isNext, options) {
  const kind = kindOf(lab);
  const title = lab.path
    ? h('a', { href: `${options.base}lab/tree/${encodeURI(lab.path)}`, 'data-path': lab.path }, lab.title)
    : lab.title;
  const words = lab.done ? `done, all ${lab.checkpoints} checkpoints passed` : lab.words;
  const bar = kind === 'begun' || kind === 'failing'
    ? h('progress', {
        max: lab.checkpoints || 1,
        value: lab.passed,
        'aria-hidden': 'true', // the words beside it say the same
      })
    : null;
  const troubles = lab.failing.length
    ? h('ul', { class: 'labs-failing', 'aria-label': 'Checkpoints that have not passed yet' },
        ...lab.failing.map(name => h('li', {}, 'Not yet: ', name)))
    : null;
  return h('li', { class: isNext ? 'labs-lab labs-next' : 'labs-lab' },
    sign(SIGNS[kind], kind),
    h('div', { class: 'labs-about' },
      h('div', { class: 'labs-title' }, title,
        isNext ? h('span', { class: 'labs-badge' }, lab.passed ? 'go on here' : 'begin here') : null),
      h('div', { class: 'labs-soft' }, `${lab.id} · ${lab.minutes} min · ${lab.level}`),
      h('div', { class: 'labs-words' }, bar, h('span', {}, words)),
      troubles));
}

function platformCard(platform, options) {
  const facts = platform.doors.map(door =>
    h('li', {}, sign(door.is_open ? '✓' : door.is_open === null ? '○' : '!',
      door.is_open ? 'done' : door.is_open === null ? 'open' : 'failing'),
    h('span', {}, `${door.name}: ${door.words}`)));
  const apps = platform.applications.map(app => {
    const well = app.state === 'configured';
    return h('li', {}, sign(well ? '✓' : '◐', well ? 'done' : 'begun'),
      h('span', {}, app.name, h('span', { class: 'labs-soft' }, ` (${app.app}): ${app.state}`)));
  });
  const memory = platform.memory_mb ? `It uses ${platform.memory_mb} MB of memory.` : null;
  return h('section', { class: `labs-card labs-is-${platform.status}`, 'aria-label': 'Platform' },
    h(`h${options.heading + 1}`, {}, sign(PLATFORM[platform.status], platform.status),
      h('span', {}, platform.words)),
    platform.cure ? h('p', {}, platform.cure) : null,
    facts.length ? h('ul', { class: 'labs-doors' }, ...facts) : null,
    apps.length
      ? h(`h${options.heading + 2}`, { class: 'labs-minor' }, 'Applications')
      : null,
    apps.length ? h('ul', { class: 'labs-doors' }, ...apps) : null,
    memory ? h('p', { class: 'labs-soft' }, memory) : null);
}

function draw(state, options) {
  const done = state.labs.filter(lab => lab.done).length;
  return [
    h(`h${options.heading}`, {}, 'Labs'),
    h('p', { class: 'labs-soft' }, `${done} of ${state.labs.length} done`),
    platformCard(state.platform, options),
    h('ol', { class: 'labs-list', 'aria-label': 'Labs, in order' },
      ...state.labs.map(lab => labRow(lab, lab.id === state.next, options))),
  ];
}

// What a screen reader is told: the changes, in words, and nothing when there are none.
function changes(before, after) {
  const said = [];
  if (before.platform.words !== after.platform.words) said.push(after.platform.words);
  const known = new Map(before.labs.map(lab => [lab.id, lab.words]));
  for (const lab of after.labs) {
    if (known.has(lab.id) && known.get(lab.id) !== lab.words) {
      said.push(`${lab.title}: ${lab.words}`);
    }
  }
  return said.join('. ');
}

// Fill an element and keep it current. Options: base (the server's base_url, absolute), heading
// (the level of the topmost heading), token, open(path) → true when it opened the notebook itself,
// isShown() → false while nobody can see it. Returns a function that ends it.
export function mount(element, options) {
  const body = h('div', {}, h('p', { class: 'labs-soft' }, 'Looking…'));
  const live = h('div', { class: 'labs-hidden', role: 'status', 'aria-live': 'polite' });
  const lost = h('p', { class: 'labs-lost', role: 'status', hidden: true });
  element.replaceChildren(lost, body, live);
  let shown = null;
  let timer = 0;

  element.addEventListener('click', event => {
    const link = event.target.closest('a[data-path]');
    const plain = !event.ctrlKey && !event.metaKey && !event.shiftKey && event.button === 0;
    if (link && plain && options.open && options.open(link.dataset.path)) event.preventDefault();
  });

  // Replacing all of it would take the focus from a link somebody has reached by keyboard.
  function show(state) {
    const focused = element.contains(document.activeElement) && document.activeElement.dataset.path;
    body.replaceChildren(...draw(state, options));
    if (focused) body.querySelector(`a[data-path="${CSS.escape(focused)}"]`)?.focus();
  }

  async function look() {
    try {
      const headers = options.token ? { Authorization: `token ${options.token}` } : {};
      const answer = await fetch(`${options.base}labs/state`, { headers, cache: 'no-store' });
      if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
      const text = await answer.text();
      if (text !== shown) {
        const state = JSON.parse(text);
        show(state);
        if (shown) live.textContent = changes(JSON.parse(shown), state);
        shown = text;
      }
      lost.hidden = true;
    } catch (error) {
      lost.hidden = false;
      lost.textContent = String(error.message).startsWith('HTTP 403')
        ? 'You are signed out. Sign in again and reload this page.'
        : 'Jupyter does not answer; what stands below may be old. Type `make lab` to start it.';
    }
  }

  async function again() {
    if (!document.hidden && (!options.isShown || options.isShown())) await look();
    timer = setTimeout(again, EVERY);
  }

  again();
  return () => clearTimeout(timer);
}
