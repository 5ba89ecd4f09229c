// What is drawn of a survey: totals, bars, table.

const MOST_BARS = 12;
const FIRST_ROWS = 20;

export const byId = (id) => document.getElementById(id);

const format = new Intl.NumberFormat("en");
export const number = (value) => format.format(value);
export const plural = (count, noun) => `${number(count)} ${noun}${count === 1 ? "" : "s"}`;

const byLines = (a, b) => b.lines - a.lines || a.file.localeCompare(b.file);

const columns = {
  file: (row) => row.file,
  lines: (row) => row.lines,
  classes: (row) => row.classes,
  functions: (row) => row.functions,
  longest: (row) => row.longest_function?.lines ?? 0,
};

function make(tag, className, text = "") {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  return element;
}

export class Results {
  #rows = [];
  #sort = "lines";
  #descending = true;
  #all = false;

  constructor() {
    for (const button of document.querySelectorAll("button[data-sort]")) {
      button.addEventListener("click", () => this.#sortBy(button.dataset.sort));
    }
    byId("more").addEventListener("click", () => {
      this.#all = true;
      this.#drawTable();
    });
  }

  clear() {
    this.show([], null);
  }

  show(rows, totals) {
    this.#rows = rows;
    this.#all = false;
    byId("results").hidden = !totals;
    if (!totals) return;
    this.#drawTotals(totals);
    this.#drawChart();
    this.#drawTable();
  }

  #drawTotals(totals) {
    for (const key of ["files", "lines", "classes", "functions"]) {
      byId(`total-${key}`).textContent = number(totals[key]);
    }
    const longest = totals.longest_function;
    const place = byId("total-longest");
    place.textContent = longest ? "" : "–";
    if (longest) {
      place.append(
        make("code", "", `${longest.name}()`),
        make("small", "", `${plural(longest.lines, "line")} in ${longest.file}`),
      );
    }
  }

  #drawChart() {
    const chart = byId("chart");
    const largest = this.#rows.filter((row) => row.lines).sort(byLines).slice(0, MOST_BARS);
    const most = largest[0]?.lines ?? 1;
    while (chart.childElementCount > largest.length) chart.lastElementChild.remove();
    largest.forEach((row, place) => {
      let item = chart.children[place];
      if (!item) {
        item = make("li", "");
        item.append(make("span", "name"), make("span", "bar"), make("span", "value"));
        chart.append(item);
      }
      const [name, bar, value] = item.children;
      name.textContent = row.file;
      name.title = row.file;
      bar.style.setProperty("--share", row.lines / most);
      value.textContent = number(row.lines);
    });
  }

  #drawTable() {
    const key = columns[this.#sort];
    const sign = this.#descending ? -1 : 1;
    const sorted = [...this.#rows].sort((a, b) => {
      const [left, right] = [key(a), key(b)];
      const order = this.#sort === "file" ? left.localeCompare(right) : left - right;
      return sign * order || a.file.localeCompare(b.file);
    });
    const shown = this.#all ? sorted : sorted.slice(0, FIRST_ROWS);
    byId("rows").replaceChildren(...shown.map(tableRow));
    const more = byId("more");
    more.hidden = shown.length === sorted.length;
    more.textContent = `Show all ${plural(sorted.length, "file")}`;
  }

  #sortBy(column) {
    this.#descending = this.#sort === column ? !this.#descending : column !== "file";
    this.#sort = column;
    for (const button of document.querySelectorAll("button[data-sort]")) {
      const head = button.closest("th");
      if (button.dataset.sort === column) {
        head.setAttribute("aria-sort", this.#descending ? "descending" : "ascending");
      } else {
        head.removeAttribute("aria-sort");
      }
    }
    this.#drawTable();
  }
}

// The roles say what the tags mean, where the style of a narrow screen makes no table of them.
function cell(tag, role, className, text) {
  const element = make(tag, className, text);
  element.setAttribute("role", role);
  return element;
}

function tableRow(row) {
  const line = cell("tr", "row", row.error ? "unreadable" : "");
  const file = cell("th", "rowheader", "", row.file);
  file.scope = "row";
  line.append(file);
  if (row.error) {
    const error = cell("td", "cell", "", row.error);
    error.colSpan = 4;
    line.append(error);
    return line;
  }
  for (const [key, className] of [["lines", ""], ["classes", " roomy"], ["functions", ""]]) {
    line.append(cell("td", "cell", `number${className}`, number(row[key])));
  }
  const longest = cell("td", "cell", "longest");
  if (row.longest_function) {
    longest.append(
      make("code", "", row.longest_function.name),
      " ",
      make("small", "", plural(row.longest_function.lines, "line")),
    );
  }
  line.append(longest);
  return line;
}
