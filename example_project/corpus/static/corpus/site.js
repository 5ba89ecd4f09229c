// What the page asks of the site, and the addresses of jobs in the explorer.

const token = document.querySelector("[name=csrfmiddlewaretoken]").value;

export async function ask(address, method = "GET") {
  const headers = method === "POST" ? { "X-CSRFToken": token } : {};
  return answerIn(await fetch(address, { method, headers }));
}

export async function answerIn(response) {
  let answer;
  try {
    answer = await response.json();
  } catch {
    throw new Error(`The site answered with an error (${response.status}).`);
  }
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

export function reasonOf(error) {
  return error instanceof TypeError
    ? "The site cannot be reached. Is it still running?"
    : error.message;
}

export const jobAddress = (id) => document.body.dataset.jobUrl.replace("ID", encodeURIComponent(id));
