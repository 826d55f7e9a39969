"""Running text in LaTeX: its mathematical letters in mathematics."""

NO_BREAK = "\N{NO-BREAK SPACE}"  # joins factors; a line may be broken only before = + and −

_LATEX_TEXT = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": "~",
    "Δ": r"$\Delta$",
    "δ": r"$\delta$",
    "Φ": r"$\Phi$",
    "φ": r"$\varphi$",
    "α": r"$\alpha$",
    "β": r"$\beta$",
    "η": r"$\eta$",
    "Θ": r"$\Theta$",
    "κ": r"$\kappa$",
    "λ": r"$\lambda$",
    "ρ": r"$\rho$",
    "ω": r"$\omega$",
    "θ": r"$\theta$",
    "ℓ": r"$\ell$",
    "⟨": r"$\langle$",
    "⟩": r"$\rangle$",
    "𝟏": r"$\mathbf{1}$",
    "⁺": "$^+$",
    "μ": r"$\mu$",
    "σ": r"$\sigma$",
    "Σ": r"$\Sigma$",
    "→": r"$\to$",
    "∞": r"$\infty$",
    "±": r"$\pm$",
    "∂": r"$\partial$",
    "′": "$'$",
    "″": "$''$",
    "³": "$^3$",
    "≠": r"$\neq$",
    "√": r"$\surd$",
    "∫": r"$\int$",
    "π": r"$\pi$",
    NO_BREAK: "~",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "−": "$-$",
    "⁻¹": "$^{-1}$",
    "²": "$^2$",
    "ᵀ": r"$^\top$",
    "₀": "$_0$",
    "K̃": r"$\tilde K$",
    "ã": r"$\tilde a$",
    "w̃": r"$\tilde w$",
    "…": r"\ldots{}",
    "·": r"$\cdot$",
    "–": "--",
    "✓": r"$\checkmark$",
    "✗": r"$\times$",
    "×": r"$\times$",
    "*": r"$\ast$",
    "†": r"$\dagger$",
}


def latex_text(text: str) -> str:
    """Running text in plain LaTeX, its mathematical letters in mathematics."""
    result, position = [], 0
    while position < len(text):
        size = next(size for size in (2, 1) if size == 1 or text[position : position + 2] in _LATEX_TEXT)
        piece = text[position : position + size]
        result.append(_LATEX_TEXT.get(piece, piece))
        position += size
    return "".join(result)
