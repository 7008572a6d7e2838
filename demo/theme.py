"""How the page looks: warm paper, ink, and one teal; light and dark; everything bundled, nothing fetched."""

from __future__ import annotations

import gradio as gr
from gradio.themes.utils import colors, fonts, sizes


def build_theme() -> gr.themes.Base:
    """Return the theme of the page."""
    theme = gr.themes.Base(
        primary_hue=colors.teal,
        secondary_hue=colors.teal,
        neutral_hue=colors.stone,
        radius_size=sizes.radius_md,
        spacing_size=sizes.spacing_md,
        text_size=sizes.text_md,
        font=[fonts.LocalFont("IBM Plex Sans", weights=(400, 700)), "ui-sans-serif", "system-ui", "sans-serif"],
    )
    return theme.set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_950",
        block_background_fill="white",
        block_background_fill_dark="*neutral_900",
        block_border_width="1px",
        block_border_color="*neutral_200",
        block_border_color_dark="*neutral_800",
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        block_label_border_width="0px",
        block_label_text_color="*neutral_600",
        block_label_text_color_dark="*neutral_400",
        block_label_text_weight="500",
        block_title_text_weight="500",
        block_title_text_color="*neutral_700",
        block_title_text_color_dark="*neutral_300",
        input_background_fill="white",
        input_background_fill_dark="*neutral_900",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_400",
        input_border_width="1px",
        input_border_color="*neutral_300",
        input_border_color_dark="*neutral_700",
        input_border_color_focus="*primary_600",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_600",
        button_primary_text_color="white",
        button_secondary_background_fill="white",
        button_secondary_background_fill_dark="*neutral_900",
        button_secondary_border_color="*neutral_300",
        button_secondary_border_color_dark="*neutral_700",
        button_border_width="1px",
        slider_color="*primary_700",
        slider_color_dark="*primary_500",
        checkbox_background_color_selected="*primary_700",
        checkbox_border_color_selected="*primary_700",
        link_text_color="*primary_800",
        link_text_color_dark="*primary_300",
    )


CSS = """
.gradio-container > main { max-width: 1160px !important; margin: 0 auto !important; }
#header { padding: 1.2rem 0 .2rem; }
#header h1 { font-size: 1.9rem; letter-spacing: -.02em; margin: 0 0 .3rem; }
#header p { font-size: 1.02rem; line-height: 1.5; max-width: 46rem; margin: 0; color: var(--body-text-color-subdued); }
.grid-wrap.fixed-height { min-height: 0; max-height: none; }
#status { min-height: 1.5rem; }
#status p { color: var(--body-text-color-subdued); font-size: .92rem; margin: 0; }
#about p, #about li { line-height: 1.55; max-width: 46rem; }
@media (max-width: 640px) {
  #actions {
    position: fixed; left: 0; right: 0; bottom: 0; z-index: 50; padding: .6rem 1rem; flex-wrap: nowrap;
    background: var(--body-background-fill); border-top: 1px solid var(--border-color-primary);
  }
  .gradio-container { padding-bottom: 4.5rem !important; }
  #header { padding-top: .4rem; }
  #header h1 { font-size: 1.5rem; }
  #header p { font-size: .95rem; }
}
"""
