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
  // The instructor decides which copy the title opens; the other one is a link beside it.
  const [path, second, label] = lab.opens_practice
    ? [lab.practice, lab.path, 'complete copy']
    : [lab.path, lab.practice, 'practice copy'];
  const link = (where, text) =>
    h('a', { href: `${options.base}lab/tree/${encodeURI(where)}`, 'data-path': where }, text);
  const title = path ? link(path, lab.title) : lab.title;
  const other = second ? link(second, label) : null;
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
        isNext ? h('span', { class: 'labs-badge' }, lab.passed ? 'go on here' : 'next') : null),
      h('div', { class: 'labs-soft' }, `${lab.id} · ${lab.minutes} min · ${lab.level}`,
        other ? ' · ' : null, other),
      h('div', { class: 'labs-words' }, bar, h('span', {}, words)),
      lab.score ? h('div', { class: 'labs-soft' }, lab.score) : null,
      lab.has_news
        ? h('div', { class: 'labs-words' }, h('span', {},
            'A new release is here; your copy is unchanged. In a terminal, ',
            h('code', {}, `labs open ${lab.id} --start-over`), ' brings it and keeps your copy.'))
        : null,
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
    memory ? h('p', { class: 'labs-soft' }, memory) : null,
    platform.status === 'ready'
      ? h('p', {}, h('a', { href: `${options.base}labs/objects/`, target: '_blank',
          'data-key': 'objects' }, 'What your steps made'))
      : null);
}

// What a class's host had to end of this learner's, and what to do now.
const noticeCard = (notice, options) =>
  h('section', { class: 'labs-card labs-is-trouble', 'aria-label': 'Notice' },
    h(`h${options.heading + 1}`, {}, sign('!', 'failing'), h('span', {}, 'A program was ended')),
    h('p', {}, notice),
    h('p', {}, 'Was it a kernel? It is there again, and empty: run the notebook from the top with less ',
      'data, and shut down the kernels that you no longer use (the square on the left).'));

// The labs by workshop, in order; those before the first workshop belong to all of them.
function workshops(labs) {
  const found = [];
  for (const lab of labs) {
    if (!found.length || found.at(-1).title !== lab.workshop) found.push({ title: lab.workshop, labs: [] });
    found.at(-1).labs.push(lab);
  }
  return found;
}

// The way to a workshop's results and its take-away, beside its title.
function results(labs, title, options) {
  const address = `${options.base}labs/finish/${labs[0].id.split('/')[0]}/`;
  const isDone = labs.every(lab => lab.done);
  return h('p', { class: 'labs-results' },
    h('a', { class: isDone ? 'labs-button' : null, href: address, target: '_blank',
      'data-key': address, 'aria-label': `Your results: ${title}` },
    isDone ? 'You finished: your results' : 'Your results'),
    h('a', { class: isDone ? 'labs-button' : null, href: `${address}take-away.zip`, download: true,
      'data-key': `${address}zip`, 'aria-label': `Take-away (zip): ${title}` }, 'Take-away (zip)'));
}

function draw(state, options) {
  const done = state.labs.filter(lab => lab.done).length;
  return [
    h(`h${options.heading}`, {}, 'Labs'),
    h('p', { class: 'labs-soft' }, `${done} of ${state.labs.length} done`),
    state.notice ? noticeCard(state.notice, options) : null,
    platformCard(state.platform, options),
    // By its address JupyterLab opens a page's text, not the page, so this link is for its inside.
    ...(state.glossary && options.open ? [h('p', { class: 'labs-soft' },
      h('a', { href: `${options.base}lab/tree/${encodeURI(state.glossary)}`,
        'data-path': state.glossary }, 'Glossary'))] : []),
    ...workshops(state.labs).flatMap(({ title, labs }) => [
      title ? h(`h${options.heading + 1}`, { class: 'labs-minor' }, title) : null,
      title ? results(labs, title, options) : null,
      h('ol', { class: 'labs-list', 'aria-label': title || 'Labs, in order' },
        ...labs.map(lab => labRow(lab, lab.id === state.next, options))),
    ].filter(Boolean)),
  ].filter(Boolean);
}

// What a screen reader is told: the changes, in words, and nothing when there are none.
function changes(before, after) {
  const said = [];
  if (before.platform.words !== after.platform.words) said.push(after.platform.words);
  if (after.notice && before.notice !== after.notice) said.push(after.notice);
  const known = new Map(before.labs.map(lab => [lab.id, lab]));
  for (const lab of after.labs) {
    const old = known.get(lab.id);
    if (old && old.words !== lab.words) said.push(`${lab.title}: ${lab.words}`);
    if (old && old.score !== lab.score) said.push(`${lab.title}: ${lab.score}`);
  }
  return said.join('. ');
}

// The headers that Jupyter wants to see when something changes.
export function proof(token) {
  const xsrf = document.cookie.match(/(?:^|; )_xsrf=([^;]*)/);
  const headers = { 'Content-Type': 'application/json' };
  if (token) headers.Authorization = `token ${token}`;
  if (xsrf) headers['X-XSRFToken'] = decodeURIComponent(xsrf[1]);
  return headers;
}

// Report the answers that are opened in a notebook: the server says which is right, and counts the
// first one. `toggle` does not bubble, so it is caught on its way down.
export function reportAnswers(base, token) {
  document.addEventListener('toggle', event => {
    const { labsLab: lab, labsAnswer: answer } = event.target.dataset || {};
    if (!lab || !event.target.open) return;
    const body = { lab, question: event.target.getAttribute('name'), answer: Number(answer) };
    fetch(`${base}labs/answers`, { method: 'POST', headers: proof(token), body: JSON.stringify(body) })
      .then(answered => answered.ok || console.warn(`The answer was not counted: HTTP ${answered.status}`))
      .catch(error => console.warn('The answer was not counted:', error));
  }, true);
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
    const key = one => one.dataset.path || one.dataset.key;
    const focused = element.contains(document.activeElement) && key(document.activeElement);
    body.replaceChildren(...draw(state, options));
    if (focused) [...body.querySelectorAll('a')].find(one => key(one) === focused)?.focus();
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
