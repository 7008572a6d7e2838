"""Open Clip Art by eye: drawings that are not what their titles say, or that nobody would know them by.

All 895 coloured drawings were looked at beside their labels. Paths are below the package's folder of drawings.
"""

from __future__ import annotations

RELABELLED = {
    "animals/birds/pollo_architetto_frances_01": "turkey",
    "buildings/homes/home10": "igloo",
    "buildings/homes/home12": "cabin",
    "buildings/homes/home15": "hut",
    "buildings/homes/home8": "tent",
    "food/fruit/pear_jean-victor_balin_01r": "apple",
    "recreation/holiday/valentines/hearth_christoph_brill_01": "heart",
    "recreation/televisore_telecomando_a_01": "television",
    "tools/smoke_nicu_buculei_02": "cigarette",
    "unsorted/caterpillar": "bulldozer",
}
"""Drawings that show another thing than their titles say, and what they show."""

LEFT_OUT = frozenset(
    """
    animals/2_dead_frogs_lumen_desig_01
    animals/amphibian/2_dead_frogs_lumen_desig_01
    animals/baby-tux_alex_kuehne_01
    animals/birds/acquila_architetto_franc_01
    animals/birds/acquila_architetto_franc_04
    animals/birds/baby-tux_alex_kuehne_01
    animals/birds/manager_mimooh_01
    animals/bugs/ragno_figo_architetto_fr_01
    animals/fish/dolphin_01
    animals/mammals/dolphin_01
    animals/mosquito_peterm_01
    animals/seal_sek_
    buildings/furniture/soft_blue_couch_jonadab_01
    buildings/homes/home11
    buildings/homes/home13
    buildings/homes/home7
    buildings/homes/house_juliane_krug_01
    computer/hardware/tower
    containers/valigie_bags_architetto__01
    decorations/sapin_01
    food/beverages/flower-pot_01
    food/beverages/flower-pot_02
    food/dairy/butter_01
    food/meats_and_eggs/fried_eggs
    people/adult_astrid_graeber_01
    people/my_lovely_baby_enrique_m_01
    people/my_lovely_baby_enrique_m_02
    plants/flowers/fiore_01
    plants/flowers/fiore_02
    plants/flowers/flower_03
    recreation/sports/anelli_architetto_france_01
    recreation/sports/binoculars_vladimir_hern_01
    science/scale_01
    signs_and_symbols/weather/lightning_jon_phillips_03
    signs_and_symbols/weather/lightning_jon_phillips_04
    tools/bucket_michael_moore_
    tools/smoke_nicu_buculei_01
    tools/smoke_nicu_buculei_03
    transportation/redcar_marcelo_caiafa_
    transportation/vehicles/redcar_marcelo_caiafa_
    unsorted/angel_01
    unsorted/ape_miele
    unsorted/ec2.py_fearzip_01
    unsorted/pesistica
    """.split()  # noqa: SIM905
)
"""Drawings of something that no label would call up, or of which a part is missing or cannot be made out."""
