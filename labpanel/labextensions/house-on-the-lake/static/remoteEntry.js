// JupyterLab's left panel for the labs, written by hand: JupyterLab wants a "remote entry" of
// module federation, which is an object with `init` (take the shared modules) and `get` (give a
// module). All else lies in the server extension's `labs/static/`. When anything here fails,
// JupyterLab goes on without the panel, and `labs/` in a browser tab shows the same.
(() => {
  const NAME = 'house-on-the-lake';
  const SEEN = `${NAME}:seen`;
  let scope = {};

  // Take a module that JupyterLab shares, whatever its version.
  async function shared(name) {
    const [version] = Object.values(scope[name]);
    return (await version.get())();
  }

  const config = document.getElementById('jupyter-config-data')?.textContent;
  const { baseUrl, token } = JSON.parse(config || '{}');
  const base = new URL(baseUrl || '/', location.href).href;
  const panel = import(`${base}labs/static/panel.js`); // while JupyterLab loads the rest
  panel.catch(() => {}); // told when it is used

  async function activate(app, restorer) {
    const { mount, reportAnswers } = await panel;
    const { Widget } = await shared('@lumino/widgets');

    const style = document.createElement('link');
    style.rel = 'stylesheet';
    style.href = `${base}labs/static/panel.css`;
    document.head.append(style);

    const widget = new Widget();
    widget.id = 'house-on-the-lake-labs';
    widget.addClass('labs-panel');
    widget.node.setAttribute('role', 'region');
    widget.node.setAttribute('aria-label', 'Labs');
    widget.title.caption = 'Labs: where you stand, and the platform';
    widget.title.label = 'Labs';
    mount(widget.node, {
      base,
      token,
      heading: 2,
      isShown: () => widget.isVisible,
      open: path => {
        const factory = path.endsWith('.md') ? 'Markdown Preview' : undefined;
        void app.commands.execute('docmanager:open', { path, factory });
        return true;
      },
    });
    reportAnswers(base, token);
    app.shell.add(widget, 'left', { rank: 50 });
    restorer?.add(widget, widget.id);
    void app.restored.then(() => show(app, widget));
  }

  // Open it at the first visit; where there is little room, as at 200 % zoom, the notebook gets it
  // and the panel stays a tab at the side. Later JupyterLab remembers what the learner left open.
  function show(app, widget) {
    try {
      if (localStorage.getItem(SEEN)) return;
      localStorage.setItem(SEEN, 'yes');
    } catch (error) {
      return; // a browser that keeps nothing: the learner opens it
    }
    app.shell.activateById(widget.id);
    if (window.innerWidth < 900) app.shell.collapseLeft();
  }

  const container = {
    init: shares => {
      scope = shares;
    },
    get: async () => {
      const { ILayoutRestorer } = await shared('@jupyterlab/application');
      const plugin = {
        id: `${NAME}:panel`,
        description: 'Shows the labs, your progress and the state of the platform.',
        autoStart: true,
        optional: [ILayoutRestorer],
        activate: (app, restorer) =>
          activate(app, restorer).catch(error => console.warn('No panel for the labs:', error)),
      };
      return () => ({ __esModule: true, default: plugin });
    },
  };
  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB[NAME] = container;
})();
