'use strict';
// A cursor that reads the lines of a chart, and a slider over samples. Without it the page is whole.
(() => {
  // The points of a path that moves in steps.
  const points = path => {
    if (!path.points) {
      const at = [];
      let x = 0, y = 0;
      for (const part of path.getAttribute('d').split('M').slice(1)) {
        const numbers = part.match(/-?\d+/g).map(Number);
        const steps = part.includes('l') ? numbers.length - 1 : 2;
        [x, y] = numbers;
        at.push([x, y]);
        for (let i = 2; steps > i; i += 2) {
          x += numbers[i];
          y += numbers[i + 1];
          at.push([x, y]);
        }
      }
      path.points = at;
    }
    return path.points;
  };
  const nearest = (at, x) => at.reduce((best, one) => Math.abs(best[0] - x) > Math.abs(one[0] - x) ? one : best);
  // The value at a place from 0 to 1 of an axis.
  const value = (axis, place) => {
    const [lo, hi, log] = axis.split(' ').map(Number);
    return log ? lo * (hi / lo) ** place : lo + (hi - lo) * place;
  };
  const digits = (number, count) => {
    const size = Math.abs(number);
    if (size > 999.5) return Math.round(number).toLocaleString('en');
    if (size === 0 || size > 1e-3) return String(Number(number.toPrecision(count)));
    return number.toExponential(2);
  };
  const clear = area => {
    area.querySelector('.cursor')?.remove();
    area.closest('section').querySelector('output').textContent = '';
  };
  const show = (area, place) => {
    area.place = Math.min(1, Math.max(0, place));
    const wanted = area.place * 3000;
    const lines = [...area.querySelectorAll('path[data-name]')].filter(path => getComputedStyle(path).display !== 'none');
    if (!lines.length) return clear(area);
    const found = lines.map(path => [path, nearest(points(path), wanted)]);
    const x = found.map(one => one[1]).reduce((best, one) => Math.abs(best[0] - wanted) > Math.abs(one[0] - wanted) ? one : best)[0] / 3000;
    let cursor = area.querySelector('.cursor');
    if (!cursor) {
      cursor = area.appendChild(document.createElement('div'));
      cursor.className = 'cursor';
    }
    cursor.style.left = `${x * 100}%`;
    const out = area.closest('section').querySelector('output');
    out.textContent = '';
    const add = text => { out.appendChild(document.createElement('span')).textContent = text; };
    add(`${digits(value(area.dataset.x, x), 4)} ${area.dataset.unit}`);
    for (const [path, [px, py]] of found) {
      // A line that ends elsewhere, or is measured elsewhere, says where.
      const there = Math.abs(px / 3000 - x) > .01 ? ` (at ${digits(value(area.dataset.x, px / 3000), 4)})` : '';
      add(`${path.dataset.name} ${digits(value(area.dataset.y, 1 - py / 10000), 4)}${there}`);
      const key = out.lastChild;
      key.className = 'key ' + [...path.classList].find(name => /^c\d$/.test(name));
    }
  };
  for (const area of document.querySelectorAll('.area')) {
    area.addEventListener('pointermove', event => {
      const box = area.getBoundingClientRect();
      show(area, (event.clientX - box.left) / box.width);
    });
    area.addEventListener('pointerleave', () => clear(area));
    area.addEventListener('blur', () => clear(area));
    area.addEventListener('focus', () => show(area, area.place ?? 1));
    area.addEventListener('keydown', event => {
      const far = event.shiftKey ? .1 : .01;
      const place = area.place ?? 1;
      const to = { ArrowLeft: place - far, ArrowRight: place + far, Home: 0, End: 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      show(area, to);
    });
  }
  for (const control of document.querySelectorAll('.controls input'))
    control.addEventListener('change', () => document.querySelectorAll('.cursor').forEach(cursor => clear(cursor.parentNode)));

  const slider = document.querySelector('.slider');
  if (!slider) return;
  const lists = [...document.querySelectorAll('.samples ol')].map(list => [...list.children]);
  const steps = [...new Set(lists.flat().map(item => Number(item.dataset.step)))].sort((a, b) => a - b);
  if (2 > steps.length) return;
  const label = slider.appendChild(document.createElement('label'));
  const input = document.createElement('input');
  Object.assign(input, { type: 'range', min: 0, max: steps.length, value: steps.length - 1 });
  const said = document.createElement('span');
  label.append(input, said);
  slider.hidden = false;
  const pick = () => {
    const all = Number(input.value) === steps.length;
    const step = steps[input.value];
    said.textContent = all ? 'all steps' : `step ${step.toLocaleString('en')}`;
    input.setAttribute('aria-valuetext', said.textContent);
    document.querySelector('.samples').classList.toggle('one', !all);
    for (const items of lists) {
      // The last sample up to there, or the first of all.
      const upTo = items.filter(item => step >= Number(item.dataset.step));
      const chosen = upTo[upTo.length - 1] ?? items[0];
      for (const item of items) item.hidden = all ? false : item !== chosen;
    }
  };
  input.setAttribute('aria-label', 'Step of the samples');
  input.addEventListener('input', pick);
  pick();
})();
