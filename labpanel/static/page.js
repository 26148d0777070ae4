// The panel as a page of its own: links open JupyterLab, which need not be there yet.
import { mount } from './panel.js';

// A token in the address has done its work (the server answered with a cookie): take it out of
// sight, of the history and of bookmarks.
if (location.search.includes('token=')) {
  history.replaceState(null, '', location.pathname);
}
mount(document.getElementById('labs'), {
  base: new URL('../', location.href.split('?')[0]).href,
  heading: 1,
});
