// Sends the answers to the survey; all else on this page is plain HTML.
import { proof } from './panel.js';

const form = document.getElementById('survey');
const kept = document.getElementById('kept');

form.addEventListener('submit', async event => {
  event.preventDefault();
  const given = new FormData(form);
  const body = {
    useful: Number(given.get('useful')), pace: given.get('pace'), change: given.get('change'),
  };
  try {
    const answer = await fetch('survey', {
      method: 'POST', headers: proof(), body: JSON.stringify(body),
    });
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    kept.textContent = '✓ Kept. You may change them as often as you like.';
  } catch (error) {
    kept.textContent = `Not kept (${error.message}). Reload this page and send them again.`;
  }
});
