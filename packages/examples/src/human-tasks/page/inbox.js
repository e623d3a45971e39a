/** The task inbox in the browser. Texts of people go in as text, never as markup. */
const REFRESH_MS = 2000

const me = document.querySelector('#me')
const list = document.querySelector('#tasks')
const empty = document.querySelector('#empty')
const message = document.querySelector('#message')
const template = document.querySelector('#task')
const rows = new Map()

me.value = localStorage.getItem('me') ?? ''
me.addEventListener('input', () => localStorage.setItem('me', me.value))
me.addEventListener('input', () => void refresh())

async function refresh() {
  try {
    const response = await fetch('/api/tasks')
    const answer = await response.json()
    if (response.ok) show(answer)
    else message.textContent = answer.error
  } catch {
    message.textContent = 'The inbox does not answer. Trying again.'
  }
}

/** Rows stay where they are, so that nobody loses a comment that they are writing. */
function show(tasks) {
  for (const [id, row] of rows) {
    if (tasks.some((task) => task.id === id)) continue
    row.remove()
    rows.delete(id)
  }
  for (const task of tasks) {
    const row = rows.get(task.id) ?? addRow(task.id)
    row.querySelector('h2').textContent = `${task.employee}: ${task.purpose}`
    const claimed = task.claimedBy === undefined ? 'not claimed' : `claimed by ${task.claimedBy}`
    const due = new Date(task.dueMs).toLocaleString()
    row.querySelector('.facts').textContent =
      `${(task.amountCents / 100).toFixed(2)}, for ${task.group} until ${due}, ${claimed}`
    const isMine = task.claimedBy !== undefined && task.claimedBy === me.value.trim()
    for (const button of row.querySelectorAll('button'))
      button.disabled = me.value.trim() === '' || (button.value === 'claim' ? task.claimedBy !== undefined : !isMine)
  }
  empty.hidden = tasks.length > 0
}

function addRow(id) {
  const row = template.content.firstElementChild.cloneNode(true)
  for (const button of row.querySelectorAll('button'))
    button.addEventListener('click', () => void act(id, button.value, row.querySelector('.comment').value))
  list.append(row)
  rows.set(id, row)
  return row
}

async function act(id, action, comment) {
  try {
    const response = await fetch(`/api/tasks/${encodeURIComponent(id)}/${action}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ by: me.value, comment }),
    })
    message.textContent = response.ok ? '' : (await response.json()).error
  } catch {
    message.textContent = 'The inbox did not answer. Look before you try again.'
  }
  await refresh()
}

await refresh()
setInterval(() => void refresh(), REFRESH_MS)
